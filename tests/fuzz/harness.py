"""Seeded, bounded fuzzing: hostile inputs, tried in a process of their own under limits.

A target is a module in ``targets/`` with three functions:

- ``examples() -> Sequence[bytes]``: inputs that must be accepted; they also warm the worker up.
- ``make(random: random.Random) -> bytes``: one input, a function of the random numbers alone.
- ``attempt(data: bytes) -> None``: the code under test, run in the worker. An input is accepted
  when it returns, refused when it raises an ``IngotError``.

Anything else is a failure: a signal, a hang, too much memory, a traceback, or a refusal that is
not one short line. Input number N of a seed is the same in every run:

    python -m tests.fuzz.harness --seconds 60 --seed 1 strict_json
    python -m tests.fuzz.harness --seed 1 --only 4711 strict_json
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TARGETS = Path(__file__).with_name("targets")
ROOT = Path(__file__).parent.parent.parent
SILENCE_S = 60.0
"""Longest wait for a worker's answer; long, because other work may keep the machine busy."""
MOST_FAILURES = 20
_FAILED_INPUTS = ROOT / "build" / "fuzz"  # where the command keeps them, to look at


@dataclass(frozen=True)
class Failure:
    """An input that was neither accepted nor refused in one line."""

    target: str
    seed: int
    number: int
    reason: str

    def __str__(self) -> str:
        """Return what happened and how to see it again."""
        again = f"python -m tests.fuzz.harness --seed {self.seed} --only {self.number}"
        return f"{self.target}, input {self.number}: {self.reason}\n  again: {again} {self.target}"


@dataclass
class Report:
    """What became of the inputs of one target."""

    target: str
    outcomes: Counter[str] = field(default_factory=Counter)
    """Inputs that were ``accepted``, ``refused`` and ``failed``."""
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the counts in one line, and a paragraph for each failure."""
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        return "\n".join([f"{self.target}: {counts}", *map(str, self.failures)])


def load(path: Path) -> Any:
    """Return a target's module."""
    name = f"fuzz_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def fuzz(
    path: Path,
    *,
    seed: int,
    seconds: float,
    count: int | None = None,
    only: int | None = None,
    keep: Path | None = None,
) -> Report:
    """Try inputs of a target until the time is over, or ``count`` of them.

    Args:
        path: The target's module.
        seed: Chooses the inputs.
        seconds: Time to spend; at least one input is tried.
        count: Most inputs to try.
        only: Number of the one input to try.
        keep: Folder for inputs that fail.
    """
    report = Report(path.stem)
    target = load(path)
    examples = target.examples()
    end = time.monotonic() + seconds
    number = 0 if only is None else only
    with _Worker(path) as worker:
        for example in examples:
            said, reason = worker.attempt(example)
            if said != "accepted":
                report.failures.append(Failure(path.stem, seed, -1, f"an example is {reason}"))
                return report
        while True:
            data = target.make(random.Random(f"{seed} {path.stem} {number}"))
            said, reason = worker.attempt(data)
            report.outcomes[said] += 1
            if said == "failed":
                report.failures.append(Failure(path.stem, seed, number, reason))
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{path.stem}-{seed}-{number}").write_bytes(data)
            number += 1
            tried = report.outcomes.total()
            if only is not None or tried == count or time.monotonic() > end:
                return report
            if len(report.failures) >= MOST_FAILURES:
                return report


class _Worker:
    """A process that tries inputs one at a time; started again after one has ended it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = tempfile.TemporaryDirectory(prefix="ingot-fuzz-")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._folder.cleanup()

    def attempt(self, data: bytes) -> tuple[str, str]:
        """Return ``accepted``, ``refused`` or ``failed``, and why."""
        process = self._process or self._start()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end is noticed below
            process.stdin.write(len(data).to_bytes(8, "little") + data)
            process.stdin.flush()
        line = self._line(process)
        if line.endswith(b"\n"):
            said, reason = json.loads(line)
            return said, reason
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        code = process.poll()
        self._stop()
        if code is None:
            return "failed", f"a hang: no answer in {SILENCE_S:g} s"
        if code == -signal.SIGPROF:
            return "failed", "a hang: too much processor time"
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return "failed", f"the end of the process by {ended}"

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        """Return the worker's answer; less than a line if it ended or is silent for too long."""
        assert process.stdout is not None
        received = b""
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while not received.endswith(b"\n") and ready.select(SILENCE_S):
                block = os.read(process.stdout.fileno(), 1 << 16)
                if not block:
                    break
                received += block
        return received

    def _start(self) -> subprocess.Popen[bytes]:
        quiet = {
            "MALLOC_ARENA_MAX": "1",  # an arena for each thread reserves 64 MB of addresses
            "TOKENIZERS_PARALLELISM": "false",
            "INGOT_DEBUG": "",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", str(self._path), self._folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries print what they then raise
            cwd=ROOT,
            env=os.environ | quiet,
        )
        return self._process

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz some or all targets, each for its share of the time; return 1 if one failed."""
    parser = argparse.ArgumentParser(description="Try hostile inputs.")
    parser.add_argument("targets", nargs="*", help="names of modules in targets/; default all")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="number of the one input to try")
    chosen = parser.parse_args(arguments)
    paths = [TARGETS / f"{name}.py" for name in chosen.targets] or sorted(TARGETS.glob("*.py"))
    failed = False
    for path in paths:
        seconds = chosen.seconds / len(paths)
        report = fuzz(
            path, seed=chosen.seed, seconds=seconds, only=chosen.only, keep=_FAILED_INPUTS
        )
        print(report, flush=True)  # noqa: T201 (a command's output)
        failed |= bool(report.failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
