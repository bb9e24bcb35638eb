"""Check of a batch's input, in a process of low priority, which delays no answer."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict

from ingot.errors import ServeError
from ingot.server.batches.records import LineError
from ingot.server.config import ServerConfig
from ingot.worker_process import end_worker, exchange, start_worker

_WORKER = Path(__file__).with_name("check_worker.py")
_PATIENCE_S = 600.0
"""200 MB take 2 s, and many times as long where all CPUs are busy."""
_ENVELOPE_BYTES = 4096
"""What a line may hold beside its body."""


class Checked(BaseModel):
    """What the check found."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    total: int
    """Requests."""
    errors: tuple[LineError, ...]


async def check_input(path: Path, endpoint: str, config: ServerConfig) -> Checked:
    """Count the requests of an input and say what is wrong with its lines.

    Cancelling kills the process. The reply is waited for in a thread of this call's own: the
    threads that all routes share never wait for a file of one key.

    Raises:
        ServeError: the process cannot be started, is gone or takes too long.
    """
    asked = {
        "path": str(path.absolute()),
        "endpoint": endpoint,
        "max_lines": config.batch_lines,
        "max_bytes": config.max_body_bytes + _ENVELOPE_BYTES,
    }
    try:
        process = start_worker(_WORKER)
    except OSError as error:
        raise ServeError(
            f"cannot start a process ({os.strerror(error.errno or 0)})", where="batch"
        ) from error
    waiting = ThreadPoolExecutor(1, thread_name_prefix="batch-check")
    replying = asyncio.get_running_loop().run_in_executor(
        waiting,
        exchange,
        process,
        orjson.dumps(asked) + b"\n",
        _PATIENCE_S,
        lambda received: received.endswith(b"\n"),
    )
    try:
        reply = await asyncio.shield(replying)
    finally:
        # Killed first, so that the thread ends; then its pipes may be closed.
        process.kill()
        await asyncio.gather(replying, return_exceptions=True)
        end_worker(process)
        waiting.shutdown(wait=False)
    if reply is None:
        raise ServeError("the input could not be checked", where="batch")
    return Checked.model_validate_json(reply)
