"""Replicas of an engine, reached through Ray Serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from ray import serve
from ray.exceptions import (
    ObjectLostError,
    RayActorError,
    RaySystemError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from ingot.cluster.serving.messages import EngineDescription, EngineOutput, EngineRequest
from ingot.cluster.serving.replicated_loop import ReplicaLost
from ingot.errors import IngotError, ServeError
from ingot.inference import EngineStats, QueueFull

_LOST = (
    RayActorError,
    ObjectLostError,
    RaySystemError,
    TaskCancelledError,
    WorkerCrashedError,
    DeploymentUnavailableError,
    RayServeException,
)


class RayReplicas:
    """The replicas of an application of Ray Serve, which holds one engine.

    Args:
        app: Name of the application.
        handle: Its handle; Ray's router behind it chooses the replica of each call.
    """

    def __init__(self, app: str, handle: DeploymentHandle[Any]) -> None:
        self._app = app
        self._handle = handle
        self._answer = handle.options(method_name="answer", stream=True)

    async def describe(self) -> EngineDescription:
        """Return what requests are checked against.

        Raises:
            ReplicaLost: the replica that was asked is gone.
        """
        with _named_errors():
            description: EngineDescription = await self._handle.describe.remote()
        return description

    async def answer(self, request: EngineRequest) -> AsyncIterator[EngineOutput]:
        """Yield a sequence's output; see ``Replicas``."""
        response = self._answer.remote(request)
        try:
            with _named_errors():
                async for output in response:
                    yield output
        finally:
            response.cancel()

    async def stats(self) -> list[EngineStats]:
        """Return the load of each replica."""
        with _named_errors():
            return list(await self._handle.broadcast("stats").results_async())

    async def weight_digests(self) -> list[dict[str, str]]:
        """Return the digests of each replica's weights in memory."""
        with _named_errors():
            return list(await self._handle.broadcast("weight_digests").results_async())

    def close(self, deadline_s: float) -> None:
        """Remove the application: its replicas end once their streams have."""
        del deadline_s
        serve.delete(self._app, _blocking=False)


@contextmanager
def _named_errors() -> Iterator[None]:
    """Translate Ray's errors: a lost replica, or what the engine raised.

    Raises:
        ReplicaLost: the replica is gone, or its engine failed.
        IngotError: the engine refused the sequence.
    """
    try:
        yield
    except BackPressureError as error:
        raise QueueFull("have no place", where="replicas", fix="try again later") from error
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ServeError) and not isinstance(cause, QueueFull):
            raise ReplicaLost(str(cause)) from error
        if isinstance(cause, IngotError):
            raise cause from error
        if isinstance(cause, (asyncio.CancelledError, *_LOST)):
            raise ReplicaLost(_line(cause)) from error
        raise
    except _LOST as error:
        raise ReplicaLost(_line(error)) from error


def _line(error: BaseException) -> str:
    """Return the first line of an error that has many."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
