from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from ingot.server.batches.check_input import check_input
from ingot.server.config import ServerConfig
from tests.server.batches.conftest import jsonl, line


def test_a_check_that_is_cancelled_leaves_no_thread_or_process(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(jsonl([line(str(n)) for n in range(40_000)]))

    async def cancelled() -> None:
        checking = asyncio.create_task(check_input(path, "/v1/completions", ServerConfig()))
        await asyncio.sleep(0.05)
        checking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await checking

    began = time.monotonic()
    asyncio.run(cancelled())  # it waits for threads
    assert time.monotonic() - began < 300
