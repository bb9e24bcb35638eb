"""A file on its way from a client to the disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from ingot.errors import ResourceError
from ingot.files import full_disk_named
from ingot.server.batches.file_store import PARTIAL, FileStore
from ingot.server.batches.records import FileRecord
from ingot.server.http.errors import ApiError
from ingot.server.schemas.identifiers import new_id

_log = logging.getLogger(__name__)
_BUFFER_BYTES = 1 << 20


class Upload:
    """Writes a file piece by piece; leaving the ``with`` block drops it unless it was kept.

    Args:
        store: What it becomes part of.
        owner: Name of the key.
        max_bytes: Its largest size.
    """

    def __init__(self, store: FileStore, owner: str, max_bytes: int) -> None:
        self._store = store
        self._owner = owner
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._size = 0
        self._held = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        """Begin the file.

        Raises:
            ApiError: 429 if the key has too many files or uploads; 507 if the disk is full.
        """
        self._hold: Callable[[int], None] = self._held.enter_context(
            self._store.uploading(self._owner)
        )
        try:
            with full_disk_answered(self._store.folder):
                self._handle, name = tempfile.mkstemp(dir=self._store.folder, prefix=PARTIAL)
        except BaseException:
            self._held.close()
            raise
        self._path = Path(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        os.close(self._handle)
        self._held.close()
        self._path.unlink(missing_ok=True)

    async def write(self, data: bytes) -> None:
        """Add bytes.

        Raises:
            ApiError: 413 if the file is too large, 429 or 507 if it does not fit.
        """
        if self._size + len(data) > self._max_bytes:
            raise ApiError(
                413,
                f"the file is larger than {self._max_bytes} bytes; split it",
                param="file",
                code="file_too_large",
                headers={"connection": "close"},
            )
        self._hold(len(data))
        self._size += len(data)
        self._buffer += data
        if len(self._buffer) >= _BUFFER_BYTES:
            await self._flush()

    async def keep(self, filename: str, lifetime_s: int | None) -> FileRecord:
        """Make the file durable and part of the store.

        Raises:
            ApiError: 507 if the disk is full.
        """
        await self._flush()
        now = int(time.time())
        record = FileRecord(
            id=new_id("file-"),
            owner=self._owner,
            filename=filename,
            purpose="batch",
            size=self._size,
            created_at=now,
            expires_at=None if lifetime_s is None else now + lifetime_s,
        )
        with full_disk_answered(self._store.folder):
            await asyncio.to_thread(os.fsync, self._handle)
            try:
                await self._store.adopt(self._path, record)
            except ResourceError:
                self._store.content_path(record.id).unlink(missing_ok=True)
                raise
        return record

    async def _flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        with full_disk_answered(self._store.folder):
            await asyncio.to_thread(_write_all, self._handle, data)


@contextlib.contextmanager
def full_disk_answered(folder: Path) -> Iterator[None]:
    """Log a full disk met inside in one line, and answer it without the path.

    Raises:
        ApiError: 507.
    """
    try:
        with full_disk_named(folder):
            yield
    except ResourceError as error:
        _log.error("%s", error)
        raise ApiError(
            507, "the server's disk is full; nothing was kept, try again later", code="disk_full"
        ) from error


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
