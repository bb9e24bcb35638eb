"""Thread that waits for the work on long texts, which is done for keys in turn.

A key pays for its work with the processor time that it took (``KeyShares``).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

from starlette.requests import Request

from ingot.server.access.key_shares import KeyShares
from ingot.server.access.request_context import context_of
from ingot.server.http.client import while_connected
from ingot.worker_process import workers_cpu_s

_Result = TypeVar("_Result")
_Outcome: TypeAlias = tuple[Any, BaseException | None]
"""What work returned, or the error that it raised."""
_LOOK_AGAIN_S = 0.1


@dataclass(eq=False)
class _Job:
    work: Callable[[], Any]
    shares: KeyShares | None
    done: asyncio.Future[Any] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class TextWorker:
    """Runs one piece of work at a time, the next of each API key in turn.

    Used on the event loop alone; the thread starts with the first work.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)
        self._waiting: dict[str, deque[_Job]] = {}  # by key, the one whose turn it is first
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, http_request: Request, work: Callable[[], _Result]) -> _Result:
        """Return what ``work`` returns; where the client leaves first, it is never begun.

        Args:
            http_request: Whose turn it is, and who may leave; its body has been read.
            work: Called in the thread; should wait for a process, not compute.

        Raises:
            ClientDisconnect: the client left.
        """
        context = context_of(http_request)
        job = _Job(work, context.shares)
        self._waiting.setdefault(context.key_name, deque()).append(job)
        self._begin_next()

        async def result() -> _Result:
            value: _Result = await job.done
            return value

        return await while_connected(http_request.receive, result())

    def close(self) -> None:
        """End the thread once it is idle."""
        if self._timer is not None:
            self._timer.cancel()
        self._thread.shutdown(wait=False)

    def _begin_next(self) -> None:
        while not self._busy and (key := self._next_key()) is not None:
            jobs = self._waiting.pop(key)
            job = jobs.popleft()
            if jobs:
                self._waiting[key] = jobs  # behind the others
            if not job.done.cancelled():
                self._busy = True
                loop = asyncio.get_running_loop()
                running = loop.run_in_executor(self._thread, _timed, job.work)
                running.add_done_callback(partial(self._end, job, key))

    def _next_key(self) -> str | None:
        """Return the key whose turn it is; None if all wait for credit, until one has it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        soonest = math.inf
        for key, jobs in self._waiting.items():
            shares = jobs[0].shares
            wait_s = shares.wait_s(key) if shares is not None else 0.0
            if wait_s <= 0:
                return key
            soonest = min(soonest, wait_s)
        if self._waiting:  # looked at again early: a key that is left alone does not wait on
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(soonest, _LOOK_AGAIN_S), self._begin_next)
        return None

    def _end(self, job: _Job, key: str, ended: asyncio.Future[tuple[_Outcome, float]]) -> None:
        self._busy = False
        (result, error), seconds = ended.result()
        if job.shares is not None:
            job.shares.charge(key, seconds)
        if not job.done.done():  # else its client left meanwhile
            if error is not None:
                job.done.set_exception(error)
            else:
                job.done.set_result(result)
        self._begin_next()


def _timed(work: Callable[[], Any]) -> tuple[_Outcome, float]:
    """Return what work returned or raised, and its processor time, that of workers included."""
    began = time.thread_time() + workers_cpu_s()
    try:
        outcome: _Outcome = work(), None
    except BaseException as error:  # a panic of the tokenizers' library is one
        outcome = None, error
    return outcome, time.thread_time() + workers_cpu_s() - began
