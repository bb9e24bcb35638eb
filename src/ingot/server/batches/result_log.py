"""Results of a batch, appended to its two files in groups that are durable together.

A result counts once its line is on disk (group commit). What a crash leaves after the last whole
line is cut off when the files are opened again, and those requests are answered again: each has
one line in one of the files, whatever happens.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from pathlib import Path
from typing import NamedTuple

import orjson

from ingot.errors import ResourceError
from ingot.files import full_disk_named, sync_folder

_log = logging.getLogger(__name__)
_ID = re.compile(rb'\{"id":"batch_req_[0-9a-f]{32}_([0-9]{1,9})",')
_RETRY_S = 5.0
_CLOSE_S = 2.0


def request_id(batch_id: str, index: int) -> str:
    """Return the id of a batch's request, from which ``ResultLog`` reads its index again."""
    return f"batch_req_{batch_id[-32:]}_{index}"


class ResultLog:
    """The files of results and of errors of one batch.

    Args:
        results: Path of the first; made if it is missing.
        errors: Path of the second.
    """

    def __init__(self, results: Path, errors: Path) -> None:
        self._logs = [_Log(results), _Log(errors)]
        sync_folder(results.parent)
        self._pending: list[_Entry] = []
        self._writing: asyncio.Task[None] | None = None
        self.done = self._logs[0].found | self._logs[1].found
        """Indices of the requests that have a line."""
        self.completed = len(self._logs[0].found)
        """Lines of results."""
        self.failed = len(self._logs[1].found)
        """Lines of errors."""

    async def append(self, index: int, line: dict[str, object], *, failed: bool) -> None:
        """Add the line of a request; return once it is on disk.

        Where the disk is full it waits, with a line in the log, until there is room again.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append(_Entry(index, failed, orjson.dumps(line) + b"\n", written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_pending())
        await asyncio.shield(written)

    async def drain(self) -> None:
        """Wait until all that was appended is on disk."""
        while self._writing is not None:
            await asyncio.shield(self._writing)

    async def close(self) -> None:
        """Close the files; what is not on disk within a moment is lost, and was never done."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=_CLOSE_S)
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        for log in self._logs:
            log.close()

    async def _write_pending(self) -> None:
        """Write groups until nothing waits."""
        try:
            while self._pending:
                group, self._pending = self._pending, []
                await self._write(group)
                for entry in group:
                    self.done.add(entry.at)
                    self.completed += not entry.failed
                    self.failed += entry.failed
                    if not entry.written.done():
                        entry.written.set_result(None)
        finally:
            self._writing = None

    async def _write(self, group: list[_Entry]) -> None:
        data = [b"".join(one.line for one in group if one.failed == log) for log in (False, True)]
        said = False
        while True:
            # Shielded: a thread that writes must not be left behind by a task that is cancelled.
            writing = asyncio.ensure_future(asyncio.to_thread(self._write_now, data))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.gather(writing, return_exceptions=True)
                raise
            except ResourceError as error:
                if not said:
                    _log.error("%s; the batch waits and loses nothing", error)
                said = True
                await asyncio.sleep(_RETRY_S)
            else:
                break
        for log, written in zip(self._logs, data, strict=True):
            log.size += len(written)

    def _write_now(self, data: list[bytes]) -> None:
        for log, lines in zip(self._logs, data, strict=True):
            if lines:
                log.write(lines)


class _Entry(NamedTuple):
    """A line that waits to be written."""

    at: int
    failed: bool
    line: bytes
    written: asyncio.Future[None]


class _Log:
    """One file of lines, whose end is known to be whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.found, self.size = _whole_lines(path)
        os.ftruncate(self._handle, self.size)

    def write(self, lines: bytes) -> None:
        """Write lines at the end, durably; ``size`` is raised by the caller.

        Raises:
            ResourceError: the disk is full; what was written is cut off again.
        """
        with full_disk_named(self._path):
            try:
                offset, view = self.size, memoryview(lines)
                while view:
                    count = os.pwrite(self._handle, view, offset)
                    view, offset = view[count:], offset + count
                os.fsync(self._handle)
            except OSError:
                os.ftruncate(self._handle, self.size)
                raise

    def close(self) -> None:
        os.close(self._handle)


def _whole_lines(path: Path) -> tuple[set[int], int]:
    """Return the indices of the lines of a file that are whole, and the bytes that they take."""
    found: set[int] = set()
    size = 0
    with path.open("rb") as file:
        for line in file:
            head = _ID.match(line)
            if head is None or not line.endswith(b"}\n"):
                break
            found.add(int(head[1]))
            size += len(line)
    return found, size
