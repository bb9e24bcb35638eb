"""Thread that waits for the work on long texts, which is done for keys in turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request

from ingot.server.access.request_context import context_of
from ingot.server.http.client import while_connected

_Result = TypeVar("_Result")


@dataclass(eq=False)
class _Job:
    work: Callable[[], Any]
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

    async def run(self, http_request: Request, work: Callable[[], _Result]) -> _Result:
        """Return what ``work`` returns; where the client leaves first, it is never begun.

        Args:
            http_request: Whose turn it is, and who may leave; its body has been read.
            work: Called in the thread; should wait for a process, not compute.

        Raises:
            ClientDisconnect: the client left.
        """
        key = context_of(http_request).key
        job = _Job(work)
        self._waiting.setdefault(key.name if key else "", deque()).append(job)
        self._begin_next()

        async def result() -> _Result:
            value: _Result = await job.done
            return value

        return await while_connected(http_request.receive, result())

    def close(self) -> None:
        """End the thread once it is idle."""
        self._thread.shutdown(wait=False)

    def _begin_next(self) -> None:
        while self._waiting and not self._busy:
            key, jobs = next(iter(self._waiting.items()))
            job = jobs.popleft()
            del self._waiting[key]
            if jobs:
                self._waiting[key] = jobs  # behind the others
            if not job.done.cancelled():
                self._busy = True
                running = asyncio.get_running_loop().run_in_executor(self._thread, job.work)
                running.add_done_callback(partial(self._end, job))

    def _end(self, job: _Job, ended: asyncio.Future[Any]) -> None:
        self._busy = False
        error = ended.exception()
        if not job.done.done():  # else its client left meanwhile
            if error is not None:
                job.done.set_exception(error)
            else:
                job.done.set_result(ended.result())
        self._begin_next()
