"""Our engine as one side of a comparison: its steps, start-up time and memory."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ingot.artifact import open_ingot
from ingot.inference import Engine, EngineConfig, OutputDelta, SamplingParams
from ingot.inference.executors.native import NativeExecutor

_BLOCK, _BLOCKS = 16, 2304
"""36,864 tokens of context for all sequences together, as the peers have."""


@dataclass(frozen=True)
class Steps:
    """Totals over all steps of an engine so far."""

    count: int
    spent_s: float
    outside_s: float
    """The part of ``spent_s`` outside the core."""


class OurEngine:
    """The engine on the native core, without prefix cache; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._ingot = open_ingot(path, verify=False)
        config = EngineConfig(prefix_cache=False, block_size=_BLOCK, num_blocks=_BLOCKS)
        executor = NativeExecutor(self._ingot, num_blocks=_BLOCKS)
        self._engine = Engine(executor, self._ingot.tokenizer, config)
        self._made: list[int] = []
        self._count = 0

    def __enter__(self) -> OurEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()
        self._ingot.close()
        gc.collect()

    def add(self, ids: list[int], answer: int) -> int:
        """Add one prompt."""
        self._count += 1
        number = self._count

        left = answer

        def on_output(delta: OutputDelta) -> None:
            nonlocal left
            left -= len(delta.token_ids)
            self._made += [number] * len(delta.token_ids)
            if delta.finish_reason and left:  # the workload would wait for them without end
                raise RuntimeError(f"an answer of {answer} tokens ended {left} short")

        params = SamplingParams(max_tokens=answer, temperature=0.0, ignore_eos=True)
        self._engine.submit(ids, params, on_output)
        return number

    def step(self) -> list[int]:
        """Run one step."""
        self._made = []
        self._engine.step()
        return self._made

    def steps(self) -> Steps:
        """Return the totals over all steps so far."""
        stats = self._engine.stats()
        return Steps(stats.steps, stats.step_s, stats.step_s - stats.executor_s)


def first_token_s(path: Path) -> float:
    """Return the seconds from the start of ``ingot generate`` to the end of its first token."""
    command = [sys.executable, "-m", "ingot", "generate", str(path), "any", "--max-tokens", "1"]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=600)  # noqa: S603 (our own)
    return time.perf_counter() - started


_CACHE_BLOCKS = 8
_RESIDENT = f"""
import sys
from pathlib import Path
from ingot.api import inference
from ingot.inference import EngineConfig
config = EngineConfig(num_blocks={_CACHE_BLOCKS}, max_context=128)
with inference.load(sys.argv[1], engine=config) as model:
    model.generate("any text", max_tokens=64, ignore_eos=True)
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
"""


def extra_bytes(path: Path) -> float:
    """Return the resident bytes of an answering process besides weights and key-value cache."""
    done = subprocess.run(  # noqa: S603 (our own)
        [sys.executable, "-c", _RESIDENT, str(path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )
    with open_ingot(path, verify=False) as ingot:
        stored = ingot.weight_bytes
        cache = _CACHE_BLOCKS * _BLOCK * ingot.config.kv_bytes()
    return int(done.stdout) * 1024 - stored - cache
