"""Work of a build in a child process, which can be ended at any moment.

A library that computes in native code hears no signal until it is done, so Ctrl-C would have
to wait for it. A child also returns its memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import IO, Any

from ingot.errors import ResourceError

_LENGTH_BYTES = 8


def run_in_child(
    module: str,
    blobs: Sequence[bytes],
    what: str,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """Run ``python -m module``, give it blobs and return its result.

    The module calls ``serve``. An exception in this process, such as Ctrl-C, kills the child.

    Args:
        module: The module.
        blobs: What it gets, in order.
        what: What it does, for the error.
        progress: Called with what is done and what there is in all.

    Raises:
        ResourceError: the child cannot be started, or dies.
    """
    # The child imports what this process would, and nothing from the current folder.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(  # noqa: S603 (our own module, no shell)
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                process_group=0,  # Ctrl-C in a terminal is for this process alone
            )
        except OSError as error:
            raise ResourceError(f"cannot be started ({error.strerror})", where=what) from error
        try:
            return _converse(process, blobs, progress)
        except (BrokenPipeError, EOFError):
            process.wait()
            raise _died(process, errors, what) from None
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None and not pipe.closed:
                    _close(pipe)


def serve(work: Callable[[list[bytes], Callable[[int, int], None]], Any]) -> None:
    """Do the child's part: read the blobs, call ``work`` with them and write its result.

    Args:
        work: Takes the blobs and a function to report progress with; returns a JSON value.
    """
    blobs = [_read() for _ in range(int.from_bytes(_read(), "little"))]

    def report(done: int, total: int) -> None:
        _write({"done": done, "total": total})

    _write({"result": work(blobs, report)})


def _read() -> bytes:
    length = sys.stdin.buffer.read(_LENGTH_BYTES)
    size = int.from_bytes(length, "little")
    data = sys.stdin.buffer.read(size)
    if len(length) < _LENGTH_BYTES or len(data) < size:
        raise SystemExit("the process that started it has gone")
    return data


def _write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _converse(
    process: subprocess.Popen[bytes],
    blobs: Sequence[bytes],
    progress: Callable[[int, int], None] | None,
) -> Any:
    """Send the blobs and return the result; an ``EOFError`` says that the child has died."""
    if process.stdin is None or process.stdout is None:
        raise EOFError
    for blob in [len(blobs).to_bytes(_LENGTH_BYTES, "little"), *blobs]:
        process.stdin.write(len(blob).to_bytes(_LENGTH_BYTES, "little"))
        process.stdin.write(blob)
    process.stdin.close()
    for line in process.stdout:
        message = json.loads(line)
        if "result" in message:
            return message["result"]
        if progress:
            progress(message["done"], message["total"])
    raise EOFError


def _close(pipe: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):  # closing flushes, and nobody reads
        pipe.close()


def _died(process: subprocess.Popen[bytes], errors: IO[bytes], what: str) -> ResourceError:
    errors.seek(0)
    said = errors.read().decode(errors="replace").strip().splitlines()
    code = process.returncode
    reason = f"by signal {-code}" if code < 0 else (said[-1] if said else f"with code {code}")
    return ResourceError(
        f"the process that does it died ({reason})",
        where=what,
        fix="free some memory and run the same command again",
    )
