"""One batch, from the check of its input to the files of its results."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import orjson

from ingot.errors import ResourceError, ServeError
from ingot.server.access.api_keys import Key
from ingot.server.batches.batch_store import BatchStore
from ingot.server.batches.check_input import Checked, check_input
from ingot.server.batches.fair_slots import FairSlots
from ingot.server.batches.file_store import FileStore
from ingot.server.batches.in_process import Answer, InProcess
from ingot.server.batches.lines import Line, LineReader
from ingot.server.batches.records import BatchRecord, FileRecord, LineError
from ingot.server.batches.result_log import ResultLog, request_id
from ingot.server.config import ServerConfig
from ingot.server.http.errors import ApiError
from ingot.server.schemas.batches import BatchStatus
from ingot.server.schemas.identifiers import new_id

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_LINES_AT_ONCE = 64
_CLOCK_S = 60.0
"""How often the clock is compared with a batch's end: it may have been set."""
_RETRY_S = 5.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_BUSY = frozenset({429, 503})
"""Statuses of a server that cannot answer now; the request is asked again."""
_LONGEST_REQUEST_S = 86_400.0
"""The engine keeps no request longer; of a batch it is then asked again."""
_MAX_CRASHES = 5
"""A batch in which the server crashed so often, without any result between, may be the cause."""


class KeyRevokedError(Exception):
    """The API key of a batch is no longer accepted."""


@dataclass(frozen=True)
class Parts:
    """What all batches share."""

    config: ServerConfig
    files: FileStore
    batches: BatchStore
    slots: FairSlots
    checks: FairSlots
    """The turn to have an input checked: one at a time, of each key in turn."""
    reading: ThreadPoolExecutor
    """One thread, which reads inputs and earlier results; no route waits for it."""
    routes: InProcess
    find_key: Callable[[str], Key | None]
    """Returns the entry of a key by its name; raises ``KeyRevokedError``."""


class BatchWork:
    """Runs one batch. Cancelling ``run`` leaves it as it is on disk, to be resumed.

    Args:
        record: The batch, in any state but a last one.
        parts: What all batches share.
        resumed: Whether a server before this one began it.
    """

    def __init__(self, record: BatchRecord, parts: Parts, *, resumed: bool = False) -> None:
        self.record = record
        self._resumed = resumed
        self._saving = asyncio.Lock()
        self._found = record.completed, record.failed
        self._parts = parts
        self._log: ResultLog | None = None
        self._answering: asyncio.Task[None] | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """Requests answered, and requests with an error."""
        if self._log is None:
            return self.record.completed, self.record.failed
        return self._log.completed, self._log.failed

    @property
    def fresh_counts(self) -> tuple[int, int]:
        """Those of ``counts`` that this object saw."""
        completed, failed = self.counts
        return completed - self._found[0], failed - self._found[1]

    async def run(self) -> None:
        """Bring the batch to its last state."""
        try:
            if self.record.status == "validating":
                await self._validate()
            if self.record.ended:
                return
            await self._open_log()
            if self._resumed and await self._crashed_too_often():
                await self._finalize("failed")
            elif self.record.status == "in_progress":
                await self._finalize(await self._answer_until_end())
            elif self.record.status == "cancelling":
                await self._finalize("cancelled")
            await self._publish()
        finally:
            if self._log is not None:
                await self._log.close()

    async def cancel(self) -> None:
        """Stop the batch; what has been answered is published.

        Raises:
            ResourceError: the disk is full.
        """
        changed = await self._save(
            ("validating", "in_progress"), status="cancelling", cancelling_at=_now()
        )
        if changed and self._answering is not None:
            self._answering.cancel()

    async def note_stop(self) -> None:
        """Record that the server stopped in order, once ``run`` was cancelled."""
        if self.record.crashes:
            await self._save(("in_progress",), crashes=0)

    async def _validate(self) -> None:
        checking = asyncio.create_task(self._check())
        self._answering = checking  # type: ignore[assignment]
        try:
            checked = await checking
        except asyncio.CancelledError:
            if self.record.status != "cancelling":
                raise
            return
        except ServeError as error:
            await self._fail(LineError(code="internal_error", message=str(error)))
            return
        if checked.errors:
            await self._fail(*checked.errors)
            return
        await self._keep_saving(
            ("validating",), status="in_progress", in_progress_at=_now(), total=checked.total
        )

    async def _check(self) -> Checked:
        record, parts = self.record, self._parts
        path = parts.files.content_path(record.input_file_id)
        await parts.checks.acquire(record.owner)
        try:
            return await check_input(path, record.endpoint, parts.config)
        finally:
            parts.checks.release(record.owner)

    async def _fail(self, *errors: LineError) -> None:
        _log.info("batch %s failed (%s)", self.record.id, errors[0].message)
        await self._keep_saving(("validating",), status="failed", ended_at=_now(), errors=errors)

    async def _crashed_too_often(self) -> bool:
        """Count a crash unless there were results since the one before; tell whether to give up."""
        if self.record.status != "in_progress":
            return False
        log, record = self._opened(), self.record
        progress = log.completed + log.failed > record.completed + record.failed
        crashes = 1 if progress else record.crashes + 1
        await self._keep_saving(
            ("in_progress",), crashes=crashes, completed=log.completed, failed=log.failed
        )
        if crashes <= _MAX_CRASHES:
            return False
        error = LineError(
            code="server_crashed",
            message=f"the server ended {crashes} times in this batch without any result between",
        )
        await self._keep_saving(("in_progress",), errors=(error,))
        return True

    async def _open_log(self) -> None:
        record, batches = self.record, self._parts.batches
        if record.status == "finalizing":
            return
        self._log = await self._read(
            ResultLog, batches.results_path(record.id), batches.errors_path(record.id)
        )
        self._found = self._log.completed, self._log.failed

    async def _answer_until_end(self) -> BatchStatus:
        """Answer all requests; return as what the batch ends."""
        self._answering = asyncio.create_task(self._answer_all())
        try:
            while not self._answering.done():
                left = self.record.expires_at - time.time()
                if left <= 0:
                    await self._stop_answering()
                    await self._write_expired()
                    return "expired"
                await asyncio.wait({self._answering}, timeout=min(left, _CLOCK_S))
        finally:
            await self._stop_answering()
        if self.record.status == "cancelling":
            return "cancelled"
        failure = None if self._answering.cancelled() else self._answering.exception()
        if failure is None:
            return "completed"
        await self._note_failure(failure)
        return "failed"

    async def _stop_answering(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.wait({self._answering})

    async def _note_failure(self, failure: BaseException) -> None:
        """Record why requests could not be answered."""
        causes = failure.exceptions if isinstance(failure, BaseExceptionGroup) else (failure,)
        if any(isinstance(cause, KeyRevokedError) for cause in causes):
            error = LineError(code="key_revoked", message="the API key is no longer accepted")
        else:
            _log.error("batch %s failed", self.record.id, exc_info=failure)
            error = LineError(code="internal_error", message="the server's log says why")
        await self._keep_saving(("in_progress",), errors=(error,))

    async def _answer_all(self) -> None:
        log, owner, slots = self._opened(), self.record.owner, self._parts.slots
        reader = await self._reader()
        try:
            async with asyncio.TaskGroup() as tasks:
                while lines := await self._read(reader.take, _LINES_AT_ONCE, log.done):
                    for line in lines:
                        await slots.acquire(owner)
                        # In a callback: a task that is cancelled before it starts runs no code.
                        task = tasks.create_task(self._answer(line))
                        task.add_done_callback(lambda _: slots.release(owner))
        finally:
            reader.close()

    async def _answer(self, line: Line) -> None:
        """Answer one request; return when the result is on disk."""
        answer = await self._ask(line)
        response = {
            "status_code": answer.status,
            "request_id": answer.request_id,
            "body": orjson.Fragment(bytes(answer.body)),
        }
        await self._append(line, failed=answer.status >= 400, response=response, error=None)

    async def _ask(self, line: Line) -> Answer:
        """Return the answer to a request, asked again while the server cannot answer."""
        if isinstance(line.body, dict) and line.body.get("stream"):
            return _refusal("stream is not for batches; leave it out", "stream")
        wait_s = _FIRST_WAIT_S
        body = orjson.dumps(line.body)
        while True:
            key = self._parts.find_key(self.record.owner)
            began = time.time()
            left = max(self.record.expires_at - began, 1.0)
            answer = await self._parts.routes.post(self.record.endpoint, body, key, left)
            late = answer.status == 504 and time.time() - began >= min(left, _LONGEST_REQUEST_S) - 1
            if answer.status not in _BUSY and not late and not _is_engine_failure(answer):
                return answer
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _append(
        self, line: Line, *, failed: bool, response: object, error: Mapping[str, str] | None
    ) -> None:
        await self._opened().append(
            line.index,
            {
                "id": request_id(self.record.id, line.index),
                "custom_id": line.custom_id,
                "response": response,
                "error": error,
            },
            failed=failed,
        )

    async def _write_expired(self) -> None:
        """Write an error for each request that is not answered."""
        log = self._opened()
        await log.drain()
        error = {
            "code": "batch_expired",
            "message": "the request was not answered before the completion window ended",
        }
        reader = await self._reader()
        try:
            while lines := await self._read(reader.take, _LINES_AT_ONCE, log.done):
                appended = (
                    self._append(line, failed=True, response=None, error=error) for line in lines
                )
                await asyncio.gather(*appended)
        finally:
            reader.close()

    async def _finalize(self, ends_as: BatchStatus) -> None:
        """Decide on the files of results; from here on the batch only publishes them."""
        log = self._opened()
        await log.drain()
        await self._keep_saving(
            ("in_progress", "cancelling"),
            status="finalizing",
            finalizing_at=_now(),
            ends_as="cancelled" if self.record.status == "cancelling" else ends_as,
            completed=log.completed,
            failed=log.failed,
            output_file_id=new_id("file-") if log.completed else None,
            error_file_id=new_id("file-") if log.failed else None,
        )

    async def _publish(self) -> None:
        """Make the results files that the key sees; done again after a crash, it is the same."""
        record, batches = self.record, self._parts.batches
        for file_id, path, kind in (
            (record.output_file_id, batches.results_path(record.id), "output"),
            (record.error_file_id, batches.errors_path(record.id), "error"),
        ):
            if file_id is None:
                await asyncio.to_thread(path.unlink, missing_ok=True)
                continue
            now, lifetime_s = _now(), record.output_lifetime_s
            file = FileRecord(
                id=file_id,
                owner=record.owner,
                filename=f"{record.id}_{kind}.jsonl",
                purpose="batch_output",
                size=0,
                created_at=now,
                expires_at=None if lifetime_s is None else now + lifetime_s,
            )
            await _keep_trying(partial(self._parts.files.adopt, path, file))
        await self._keep_saving(("finalizing",), status=record.ends_as, ended_at=_now())

    async def _reader(self) -> LineReader:
        path = self._parts.files.content_path(self.record.input_file_id)
        return await self._read(LineReader, path)

    async def _read(self, act: Callable[..., _T], *args: object) -> _T:
        """Call what reads the batch's files, in the thread for that."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._parts.reading, act, *args)

    def _opened(self) -> ResultLog:
        if self._log is None:
            raise RuntimeError("the log of results is not open")
        return self._log

    async def _save(self, before: tuple[BatchStatus, ...], **changes: Any) -> bool:
        """Save changes if the state is one of ``before``; return whether it was."""
        async with self._saving:
            if self.record.status not in before:
                return False
            record = self.record.model_copy(update=changes)
            await self._parts.batches.save(record)
            self.record = record
            return True

    async def _keep_saving(self, before: tuple[BatchStatus, ...], **changes: Any) -> None:
        """Save changes, as often as it takes."""
        await _keep_trying(lambda: self._save(before, **changes))


async def _keep_trying(act: Callable[[], Awaitable[object]]) -> None:
    """Do something that a full disk may prevent until it succeeds."""
    said = False
    while True:
        try:
            await act()
        except ResourceError as error:
            if not said:
                _log.error("%s; the batch waits and loses nothing", error)
            said = True
            await asyncio.sleep(_RETRY_S)
        else:
            return


def _refusal(message: str, param: str) -> Answer:
    error = ApiError(400, message, param=param, code="invalid_value")
    return Answer(new_id(), 400, bytearray(error.body.to_json()))


def _is_engine_failure(answer: Answer) -> bool:
    """Tell whether the engine failed as a whole, after which the server is started again."""
    return answer.status == 500 and b'"engine_failed"' in answer.body


def _now() -> int:
    return int(time.time())
