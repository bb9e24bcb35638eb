from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from ingot.server.batches.check_input import check_input
from ingot.server.batches.in_process import InProcess
from ingot.server.batches.records import BatchRecord
from ingot.server.batches.runner import Batches
from ingot.server.config import ServerConfig
from ingot.worker_process import start_worker
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


def test_checks_take_turns_and_hear_a_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Batches(tmp_path / "batches", ServerConfig())
    begun = [_record(f"{number:032x}", "alice") for number in range(3)]
    # The process that opens it waits for a writer, which never comes.
    os.mkfifo(batches.files.content_path(begun[0].input_file_id))
    started: list[int] = []

    def start(script: Path) -> subprocess.Popen[bytes]:
        process = start_worker(script)
        started.append(process.pid)
        return process

    monkeypatch.setattr("ingot.server.batches.check_input.start_worker", start)

    async def work() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        batches.start(cast("InProcess", None), lambda _: None)
        for record in begun:
            await batches.create(record)
        while not started:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(asyncio.to_thread(list), 60)  # none of the shared threads waits
        await asyncio.sleep(0.1)
        assert len(started) == 1, "one input is checked at a time"
        for waiting in begun[1:]:
            await batches.cancel(waiting)
        await _until(lambda: sum(one.ended for one in batches.store.all) == 2)
        assert len(started) == 1
        await batches.cancel(begun[0])
        await _until(lambda: all(one.status == "cancelled" for one in batches.store.all))
        await batches.create(_record("f" * 32, "alice"))
        await _until(lambda: len(started) == 2)
        await asyncio.wait_for(batches.stop(), 60)

    asyncio.run(work())
    for pid in started:
        assert not Path(f"/proc/{pid}").exists(), "the process was ended"
    again = Batches(tmp_path / "batches", ServerConfig())
    assert [one.status for one in again.store.all].count("validating") == 1

    async def resumed() -> None:
        again.start(cast("InProcess", None), lambda _: None)
        await _until(lambda: len(started) == 3)
        (open_one,) = (one for one in again.store.all if not one.ended)
        await again.cancel(open_one)
        await _until(lambda: all(one.status == "cancelled" for one in again.store.all))
        await asyncio.wait_for(again.stop(), 60)

    asyncio.run(resumed())


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


def _record(number: str, owner: str) -> BatchRecord:
    now = int(time.time())
    return BatchRecord(
        id=f"batch_{number}",
        owner=owner,
        endpoint="/v1/completions",
        input_file_id=f"file-{'0' * 32}",
        completion_window="24h",
        created_at=now,
        expires_at=now + 86_400,
    )
