"""Records of batches on disk, and where the results of each grow."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from ingot.errors import IngotError, ResourceError
from ingot.files import read_regular, write_atomic
from ingot.server.batches.file_store import make_folder
from ingot.server.batches.records import BatchRecord

_log = logging.getLogger(__name__)
_MAX_RECORD_BYTES = 1 << 20
_MAX_ENDED = 1000
"""Batches of a key that ended and are remembered; the oldest are forgotten, not their files."""


class BatchStore:
    """The batches in a folder. Used on the event loop; what waits for the disk is in a thread.

    Args:
        folder: Made if it is missing.

    Raises:
        ResourceError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)
        self._batches: dict[str, BatchRecord] = {}
        for path in sorted(folder.glob("*.json")):
            record = _read_record(path)
            if record is not None:
                self._batches[record.id] = record
        self._remove_orphans()

    def find(self, owner: str, batch_id: str) -> BatchRecord | None:
        """Return a batch of a key; None if it has no such batch."""
        record = self._batches.get(batch_id)
        return record if record is not None and record.owner == owner else None

    def all_of(self, owner: str) -> list[BatchRecord]:
        """Return the batches of a key, oldest first."""
        own = [record for record in self._batches.values() if record.owner == owner]
        return sorted(own, key=lambda record: (record.created_at, record.id))

    @property
    def all(self) -> list[BatchRecord]:
        """Every batch."""
        return list(self._batches.values())

    def uses(self, file_id: str) -> BatchRecord | None:
        """Return a batch that has not ended and needs a file; None if none does."""
        return next(
            (
                record
                for record in self._batches.values()
                if record.input_file_id == file_id and not record.ended
            ),
            None,
        )

    def results_path(self, batch_id: str) -> Path:
        """Return where the results of a batch grow."""
        return self._folder / f"{batch_id}.output.jsonl"

    def errors_path(self, batch_id: str) -> Path:
        """Return where its errors do."""
        return self._folder / f"{batch_id}.errors.jsonl"

    async def save(self, record: BatchRecord) -> None:
        """Make a record durable, then let others see it.

        Raises:
            ResourceError: the disk is full; the record before is untouched.
        """
        data = record.model_dump_json().encode()
        await asyncio.to_thread(write_atomic, self._record_path(record.id), data)
        self._batches[record.id] = record
        if record.ended:
            await self._forget_oldest(record.owner)

    def save_now(self, record: BatchRecord) -> None:
        """Make a record durable at once, before the event loop runs.

        Raises:
            ResourceError: the disk is full; the record before is untouched.
        """
        write_atomic(self._record_path(record.id), record.model_dump_json().encode())
        self._batches[record.id] = record

    async def _forget_oldest(self, owner: str) -> None:
        ended = [record for record in self.all_of(owner) if record.ended]
        for record in ended[: max(len(ended) - _MAX_ENDED, 0)]:
            del self._batches[record.id]
            await asyncio.to_thread(self._record_path(record.id).unlink, missing_ok=True)

    def _remove_orphans(self) -> None:
        """Delete results whose batch has no record or has ended without them."""
        for path in self._folder.iterdir():
            batch_id = path.name.partition(".")[0]
            record = self._batches.get(batch_id)
            ended = record.ended if record else not self._record_path(batch_id).exists()
            if path.name.startswith(".") or (path.suffix == ".jsonl" and ended):
                path.unlink(missing_ok=True)

    def _record_path(self, batch_id: str) -> Path:
        return self._folder / f"{batch_id}.json"


def _read_record(path: Path) -> BatchRecord | None:
    """Return a batch's record; None, with a line in the log, if it is not one."""
    try:
        read = read_regular(path, ResourceError, max_bytes=_MAX_RECORD_BYTES)
        record = BatchRecord.model_validate_json(read)
    except (IngotError, ValueError) as error:
        _log.error("%s: is left out (%s)", path, str(error).partition("\n")[0])
        return None
    if record.id != path.stem:
        _log.error("%s: is left out (it describes another batch)", path)
        return None
    return record
