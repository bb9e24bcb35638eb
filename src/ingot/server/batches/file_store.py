"""Uploaded files and files of results, on disk with a record each, within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from ingot.errors import IngotError, ResourceError
from ingot.files import read_regular, sync_folder, write_atomic
from ingot.server.batches.records import FileRecord
from ingot.server.config import ServerConfig
from ingot.server.http.errors import ApiError

_log = logging.getLogger(__name__)
_MAX_RECORD_BYTES = 65_536
_MAX_UPLOADS = 4
"""Uploads of one key at a time."""
PARTIAL = ".upload-"
"""How the names of unfinished uploads begin."""


class FileStore:
    """The files in a folder, each with a record that is written after it and deleted before it.

    Used on the event loop; what waits for the disk does so in a thread.

    Args:
        folder: Made if it is missing.
        config: Limits.

    Raises:
        ResourceError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, config: ServerConfig) -> None:
        self.folder = folder
        self._config = config
        make_folder(folder)
        self._files: dict[str, FileRecord] = {}
        self._bytes = Counter[str]()
        self._counts = Counter[str]()
        self._uploads = Counter[str]()
        self._readers = Counter[str]()
        self._deleted_while_read: set[str] = set()
        for path in sorted(folder.glob("*.json")):
            record = _read_record(path, self.content_path(path.stem))
            if record is not None:
                self._count(record)

    @property
    def bytes_kept(self) -> int:
        """Bytes of all files."""
        return self._bytes.total()

    def remove_orphans(self, wanted: frozenset[str]) -> None:
        """Delete what has no record: uploads that were broken off, files half deleted.

        Args:
            wanted: Ids of files whose record is yet to be written.
        """
        for path in self.folder.iterdir():
            partial = path.name.startswith(".")
            record = path.suffix == ".jsonl" and self._record_path(path.stem)
            if partial or (record and path.stem not in wanted and not record.exists()):
                path.unlink(missing_ok=True)

    def content_path(self, file_id: str) -> Path:
        """Return where a file's content lies."""
        return self.folder / f"{file_id}.jsonl"

    def find(self, owner: str, file_id: str) -> FileRecord | None:
        """Return a file of a key; None if it has no such file."""
        record = self._files.get(file_id)
        return record if record is not None and record.owner == owner else None

    def all_of(self, owner: str) -> list[FileRecord]:
        """Return the files of a key, oldest first."""
        own = [record for record in self._files.values() if record.owner == owner]
        return sorted(own, key=lambda record: (record.created_at, record.id))

    def due(self, now: float) -> list[FileRecord]:
        """Return the files whose time is over."""
        return [
            record
            for record in self._files.values()
            if record.expires_at is not None and record.expires_at <= now
        ]

    @contextlib.contextmanager
    def uploading(self, owner: str) -> Iterator[Callable[[int], None]]:
        """Count an upload inside the block; yields what to call with each part's bytes.

        Raises:
            ApiError: 429 if the key has too many files, uploads or bytes; 507 if all keys together
                have too many bytes.
        """
        if self._uploads[owner] >= _MAX_UPLOADS:
            raise _too_many(f"{_MAX_UPLOADS} files are being uploaded already")
        if self._counts[owner] + self._uploads[owner] >= self._config.batch_key_files:
            raise _too_many(f"{self._counts[owner]} files are kept already; delete some")
        held = 0

        def hold(count: int) -> None:
            nonlocal held
            self._check_room(owner, count)
            self._bytes[owner] += count
            held += count

        self._uploads[owner] += 1
        try:
            yield hold
        finally:
            self._uploads[owner] -= 1
            self._bytes[owner] -= held

    def _check_room(self, owner: str, count: int) -> None:
        if self._bytes[owner] + count > self._config.batch_key_bytes:
            raise _too_many(
                f"the files kept would take more than {self._config.batch_key_bytes} bytes; "
                "delete some"
            )
        if self.bytes_kept + count > self._config.batch_total_bytes:
            raise ApiError(
                507,
                "the server keeps as many bytes of files as it may; delete some",
                code="disk_full",
            )

    async def adopt(self, path: Path, record: FileRecord) -> None:
        """Take a finished file into the store; done again, it changes nothing.

        Raises:
            ResourceError: the disk is full; try again.
        """
        target = self.content_path(record.id)

        def move() -> FileRecord:
            if path.exists():
                path.replace(target)
                sync_folder(target.parent)
            measured = record.model_copy(update={"size": target.stat().st_size})
            write_atomic(self._record_path(record.id), measured.model_dump_json().encode())
            return measured

        measured = await asyncio.to_thread(move)
        if record.id not in self._files:
            self._count(measured)

    async def remove(self, record: FileRecord) -> None:
        """Delete a file."""
        if self._files.pop(record.id, None) is None:
            return
        self._counts[record.owner] -= 1
        if self._readers[record.id]:
            self._deleted_while_read.add(record.id)  # the disk keeps its bytes until it is closed
        else:
            self._bytes[record.owner] -= record.size

        def unlink() -> None:
            self._record_path(record.id).unlink(missing_ok=True)
            sync_folder(self.folder)
            self.content_path(record.id).unlink(missing_ok=True)

        await asyncio.to_thread(unlink)

    @contextlib.contextmanager
    def reading(self, record: FileRecord) -> Iterator[None]:
        """Hold a file open inside the block: its bytes count until the last such block ends."""
        self._readers[record.id] += 1
        try:
            yield
        finally:
            self._readers[record.id] -= 1
            if not self._readers[record.id]:
                del self._readers[record.id]
                if record.id in self._deleted_while_read:
                    self._deleted_while_read.remove(record.id)
                    self._bytes[record.owner] -= record.size

    def _record_path(self, file_id: str) -> Path:
        return self.folder / f"{file_id}.json"

    def _count(self, record: FileRecord) -> None:
        self._files[record.id] = record
        self._bytes[record.owner] += record.size
        self._counts[record.owner] += 1


def make_folder(folder: Path) -> None:
    """Make a folder that its owner alone may enter; what it holds are people's prompts.

    Raises:
        ResourceError: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cannot be made ({error.strerror})", where=folder, fix="choose another folder"
        ) from error


def _read_record(path: Path, content: Path) -> FileRecord | None:
    """Return a file's record; None, with a line in the log, if it does not fit its content."""
    try:
        read = read_regular(path, ResourceError, max_bytes=_MAX_RECORD_BYTES)
        record = FileRecord.model_validate_json(read)
        size = content.stat().st_size
    except (IngotError, ValueError, OSError) as error:
        _log.error("%s: is left out (%s)", path, str(error).partition("\n")[0])
        return None
    if record.id != path.stem or record.size != size:
        _log.error("%s: is left out (it describes another file)", path)
        return None
    return record


def _too_many(why: str) -> ApiError:
    return ApiError(429, why, code="file_limit")
