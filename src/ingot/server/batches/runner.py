"""The batches of a server: what clients do with them, and the tasks that work on them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ingot.errors import IngotError, ServeError
from ingot.folder_lock import folder_locked
from ingot.server.access.api_keys import Key
from ingot.server.batches.batch_store import BatchStore
from ingot.server.batches.fair_slots import FairSlots
from ingot.server.batches.file_store import FileStore
from ingot.server.batches.in_process import InProcess
from ingot.server.batches.records import BatchRecord
from ingot.server.batches.work import BatchWork, Parts
from ingot.server.config import ServerConfig
from ingot.server.http.errors import ApiError
from ingot.server.schemas.batches import BatchStatus

_log = logging.getLogger(__name__)
_SWEEP_S = 60.0


class Batches:
    """Files and batches of a server, in a folder that no other server uses meanwhile.

    Used on the event loop.

    Args:
        folder: Made if it is missing.
        config: Limits.

    Raises:
        ServeError: another server uses the folder.
        ResourceError: the folder cannot be made, locked or read.
    """

    def __init__(self, folder: Path, config: ServerConfig) -> None:
        self._config = config
        self.folder = folder
        self._locked = contextlib.ExitStack()
        self._locked.enter_context(folder_locked(folder, ServeError, "is used for batches"))
        try:
            folder.chmod(0o700)  # it holds prompts
            self.files = FileStore(folder / "files", config)
            self.store = BatchStore(folder / "batches")
            self.files.remove_orphans(_promised(self.store.all))
        except BaseException:
            self._locked.close()
            raise
        self._slots = FairSlots(config.batch_requests)
        self._works: dict[str, tuple[BatchWork, asyncio.Task[None]]] = {}
        self._parts: Parts | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._requests = Counter[str]()

    def start(self, routes: InProcess, find_key: Callable[[str], Key | None]) -> None:
        """Resume the batches that have not ended, on the running event loop.

        Args:
            routes: Answers their requests.
            find_key: Returns the entry of a key by its name; raises ``KeyRevokedError``.
        """
        self._parts = Parts(
            config=self._config,
            files=self.files,
            batches=self.store,
            slots=self._slots,
            checks=FairSlots(1),
            reading=ThreadPoolExecutor(1, thread_name_prefix="batch-input"),
            routes=routes,
            find_key=find_key,
        )
        for record in self.store.all:
            if not record.ended:
                self._work_on(record, resumed=True)
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Stop all work, so that it can be resumed, and release the folder."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        works = list(self._works.values())
        for _, task in works:
            task.cancel()
        await asyncio.gather(*(task for _, task in works), return_exceptions=True)
        if self._parts is not None:
            self._parts.reading.shutdown(wait=False, cancel_futures=True)
        self._parts = None
        for work, _ in works:
            with contextlib.suppress(IngotError):
                await work.note_stop()
        self._locked.close()

    async def create(self, record: BatchRecord) -> None:
        """Begin a batch.

        Raises:
            ApiError: 429 if the key has too many that have not ended, 503 if the server stops.
            ResourceError: the disk is full.
        """
        if self._parts is None:
            raise ApiError(503, "the server is stopping", code="stopping")
        open_batches = sum(not one.ended for one in self.store.all_of(record.owner))
        if open_batches >= self._config.batch_key_batches:
            raise ApiError(
                429,
                f"{open_batches} batches have not ended; wait for one, or cancel it",
                code="batch_limit",
            )
        # Without leaving the event loop, so that the input cannot be deleted meanwhile and the
        # number of batches holds.
        self.store.save_now(record)
        self._work_on(record)

    async def cancel(self, record: BatchRecord) -> BatchRecord:
        """Cancel a batch; return its record.

        Raises:
            ResourceError: the disk is full.
        """
        entry = self._works.get(record.id)
        if entry is not None:
            await entry[0].cancel()
        return self.store.find(record.owner, record.id) or record

    def counts(self, record: BatchRecord) -> tuple[int, int]:
        """Return how many requests of a batch are answered, and how many have an error."""
        entry = self._works.get(record.id)
        return entry[0].counts if entry else (record.completed, record.failed)

    @property
    def open_requests(self) -> int:
        """Requests that are being answered."""
        return self._slots.held

    def by_status(self) -> Counter[BatchStatus]:
        """Return how many batches are in each state."""
        return Counter(record.status for record in self.store.all)

    def requests(self) -> tuple[int, int]:
        """Return how many requests were answered since the start, and how many with an error."""
        open_works = [work.fresh_counts for work, _ in self._works.values()]
        completed = self._requests["completed"] + sum(counts[0] for counts in open_works)
        failed = self._requests["failed"] + sum(counts[1] for counts in open_works)
        return completed, failed

    def _work_on(self, record: BatchRecord, *, resumed: bool = False) -> None:
        if self._parts is None:
            raise RuntimeError("not started")
        work = BatchWork(record, self._parts, resumed=resumed)
        task = asyncio.create_task(self._run(work), name=record.id)
        self._works[record.id] = work, task

    async def _run(self, work: BatchWork) -> None:
        try:
            await work.run()
        except Exception:
            _log.exception("batch %s stopped; it is resumed at the next start", work.record.id)
        # Where it was cancelled, the server is stopping.
        completed, failed = work.fresh_counts
        self._requests["completed"] += completed
        self._requests["failed"] += failed
        del self._works[work.record.id]

    async def _sweep(self) -> None:
        """Delete files whose time is over, each minute."""
        while True:
            for file in self.files.due(time.time()):
                if self.store.uses(file.id) is None:
                    await self.files.remove(file)
            await asyncio.sleep(_SWEEP_S)


def _promised(batches: list[BatchRecord]) -> frozenset[str]:
    """Return the ids of files that batches are about to publish."""
    return frozenset(_promised_ids(batches))


def _promised_ids(batches: list[BatchRecord]) -> Iterator[str]:
    for record in batches:
        if record.status == "finalizing":
            yield from filter(None, (record.output_file_id, record.error_file_id))
