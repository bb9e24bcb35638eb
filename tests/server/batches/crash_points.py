"""Crash a batch at each of its operations on the disk in turn, and resume it.

Run as a program, because it forks: ``crash_points.py FOLDER EVERY`` crashes at one in EVERY
operations, and prints how many there are.

Each child process does the work of a server with one batch, and ends without any clean-up at its
n-th operation, before or after it. The next child then finishes the batch.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send

from ingot.server.batches.in_process import InProcess
from ingot.server.batches.records import BatchRecord, FileRecord
from ingot.server.batches.runner import Batches
from ingot.server.config import ServerConfig

BATCH, FILE = f"batch_{'b' * 32}", f"file-{'f' * 32}"
LINES = 20
CRASHED = 9
OPERATIONS = [(os, name) for name in ("fsync", "pwrite", "ftruncate", "unlink", "rename")] + [
    (Path, "replace"),
    (Path, "unlink"),
]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body; every fifth request is wrong."""
    body = (await receive())["body"]
    status = 400 if json.loads(body)["n"] % 5 == 0 else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def work(folder: Path) -> None:
    """Resume what is in a folder, and wait until the batch has ended."""
    batches = Batches(folder, ServerConfig(batch_requests=3))
    batches.start(InProcess(echo, lambda _: None), lambda _: None)
    async with asyncio.timeout(60):
        while not (record := batches.store.find("", BATCH)) or not record.ended:
            await asyncio.sleep(0.001)
    await batches.stop()


def prepare(folder: Path) -> None:
    """Write a batch as the routes leave it."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("files", "batches"):
        (folder / name).mkdir(parents=True)
    lines = [
        {"custom_id": f"c{n}", "method": "POST", "url": "/v1/completions", "body": {"n": n}}
        for n in range(LINES)
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (folder / "files" / f"{FILE}.jsonl").write_bytes(content)
    file = FileRecord(
        id=FILE, owner="", filename="in", purpose="batch", size=len(content), created_at=0
    )
    (folder / "files" / f"{FILE}.json").write_text(file.model_dump_json())
    batch = BatchRecord(
        id=BATCH,
        owner="",
        endpoint="/v1/completions",
        input_file_id=FILE,
        completion_window="24h",
        created_at=0,
        expires_at=2**40,
        status="in_progress",
        in_progress_at=0,
        total=LINES,
    )
    (folder / "batches" / f"{BATCH}.json").write_text(batch.model_dump_json())


def crash_at(count: int, *, after: bool) -> None:
    """End the process at the ``count``-th operation."""
    numbers = itertools.count(1)

    def wrapped(act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            number = next(numbers)
            if number == count and not after:
                os._exit(CRASHED)
            result = act(*given, **named)
            if number == count:
                os._exit(CRASHED)
            return result

        return call

    for owner, name in OPERATIONS:
        setattr(owner, name, wrapped(getattr(owner, name)))


def child(act: Callable[[], None]) -> int:
    """Run something in a child process; return its exit status."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        act()
    except BaseException as error:
        sys.stderr.write(f"{error!r}\n")
        os._exit(1)
    os._exit(0)


def check(folder: Path, said: str) -> None:
    """Check that each request has one line in the files that the batch names, and nothing else."""
    record = BatchRecord.model_validate_json((folder / "batches" / f"{BATCH}.json").read_bytes())
    assert record.status == "completed", (said, record)
    assert (record.completed, record.failed) == (LINES - LINES // 5, LINES // 5), (said, record)
    found: list[tuple[str, int]] = []
    for file_id in (record.output_file_id, record.error_file_id):
        assert file_id is not None
        path = folder / "files" / f"{file_id}.jsonl"
        file = FileRecord.model_validate_json(path.with_suffix(".json").read_bytes())
        assert file.size == path.stat().st_size, said
        for text in path.read_text().splitlines():
            line = json.loads(text)
            assert line["custom_id"] == f"c{line['response']['body']['n']}", said
            found.append((line["custom_id"], line["response"]["status_code"]))
    wanted = [(f"c{n}", 400 if n % 5 == 0 else 200) for n in range(LINES)]
    assert sorted(found) == sorted(wanted), said
    files = {path.name for path in (folder / "files").iterdir()}
    assert len(files) == 6, (said, files)
    assert {path.name for path in (folder / "batches").iterdir()} == {f"{BATCH}.json"}, said


def main() -> None:
    """Crash at one operation after another, until there is none left."""
    folder, every = Path(sys.argv[1]), int(sys.argv[2])
    for count in itertools.count(1, every):
        for after in (False, True):
            prepare(folder)

            def crash(count: int = count, after: bool = after) -> None:
                crash_at(count, after=after)
                asyncio.run(work(folder))

            said = f"{'after' if after else 'before'} operation {count}"
            status = child(crash)
            if status == 0:
                check(folder, said)
                sys.stdout.write(f"{count - 1}\n")
                return
            assert status == CRASHED, (said, status)
            assert child(lambda: asyncio.run(work(folder))) == 0, said
            check(folder, said)


if __name__ == "__main__":
    main()
