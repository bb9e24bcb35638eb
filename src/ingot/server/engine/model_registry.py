"""Registry of the served models, and their replacement while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ingot.artifact import Ingot
from ingot.errors import IngotError, ServeError, UsageError
from ingot.inference import RequestLoop
from ingot.inference.config import Weights
from ingot.process import return_memory
from ingot.server.engine.grammars import GrammarCache
from ingot.server.engine.kv_events import KvEventPublisher, KvEvents
from ingot.server.engine.prompts import PromptEncoder
from ingot.server.engine.stream import OutputMailbox
from ingot.server.http.errors import ApiError
from ingot.server.schemas.completions import Model

_log = logging.getLogger(__name__)
_CLOSE_S = 10.0


Loader = Callable[[Path, Weights], tuple[Ingot, RequestLoop]]
"""Opens and verifies an ingot and starts its engine; raises ``IngotError``."""


@dataclass(eq=False)
class ServedModel:
    """An open ingot, the engine that runs it, and the count of its users."""

    name: str
    ingot: Ingot
    loop: RequestLoop
    weights: Weights = "stored"
    digest: str = field(init=False)
    """Digest of the ingot."""
    created: int = field(init=False)
    """When the ingot was sealed, in seconds since 1970."""
    asleep: bool = field(default=False, init=False)
    """Whether its engine and weights are closed until the next request; see ``Sleeper``."""
    _users: int = field(default=0, init=False)
    _interruptible: int = field(default=0, init=False)
    """Of these, requests of batches that the engine answers."""
    _batch_steps: int = field(default=0, init=False)
    """Steps of the engine for them, when last looked at."""
    _last_used: float = field(default_factory=time.monotonic, init=False)
    _unused: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        self.digest = self.ingot.digest
        self.created = int((self.ingot.path / "ingot.json").stat().st_mtime)
        self._unused.set()

    @property
    def description(self) -> Model:
        """Its entry in ``/v1/models``."""
        return Model(self.name, self.created, self.digest, self.loop.max_context)

    @cached_property
    def mailbox(self) -> OutputMailbox:
        """Mailbox from its engine's thread to the event loop; first used on the loop."""
        return OutputMailbox(self.loop.yield_cpu)

    @property
    def lag_s(self) -> float:
        """Seconds by which the event loop is late, in and out, as its output lately was."""
        return 2 * self.mailbox.lag_s if "mailbox" in self.__dict__ else 0.0

    @cached_property
    def prompts(self) -> PromptEncoder:
        """Encoder of its prompts."""
        return PromptEncoder(self.ingot, self.loop.max_context)

    @cached_property
    def grammars(self) -> GrammarCache:
        """Cache of its compiled grammars."""
        return GrammarCache(self.ingot.tokenizer)

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Keep it open inside the block, even if another model takes its name meanwhile."""
        try:
            with self.kept_open():
                yield
        finally:
            self._last_used = time.monotonic()

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let it sleep inside a block that uses it, which ends what its engine runs for a batch."""
        self._interruptible += 1
        self._last_used = time.monotonic()
        try:
            yield
        finally:
            self._interruptible -= 1

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep it open inside the block, for a look at it that is not a use."""
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    def idle_s(self, now: float) -> float | None:
        """Return the seconds since its last use ended; None while it is used.

        Requests of batches that the engine answers use it by every step for them that was computed
        since this was last asked; not while they are paused.
        """
        if self._users > self._interruptible:
            return None
        if self._interruptible:
            steps = self.loop.stats().background_steps
            if steps > self._batch_steps:
                self._batch_steps, self._last_used = steps, now
        return now - self._last_used

    async def end_batch_requests(self) -> None:
        """Stop its engine, so that requests of batches get 503; wait until they have left.

        Raises:
            ServeError: the engine hangs.
        """
        await asyncio.to_thread(self.loop.close, 0.0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._unused.wait(), _CLOSE_S)

    async def close_unused(self) -> None:
        """Wait until it has no users; then stop its engine and release its memory."""
        await self._unused.wait()
        await asyncio.to_thread(self.close)
        await asyncio.to_thread(return_memory)

    def close(self) -> None:
        """Stop its engine and release its memory; later calls do nothing."""
        self.close_processes()
        self.loop.close(_CLOSE_S)
        self.ingot.close()

    def close_processes(self) -> None:
        """End the processes of its encoder, its chat template and its grammars, where they run."""
        if "prompts" in self.__dict__:
            self.prompts.close()
        if "grammars" in self.__dict__:
            self.grammars.close()


class Models:
    """The served models by name. Used on the event loop alone.

    Args:
        models: Those to begin with, at least one; the first is the default.
        loader: Opens ingots for ``replace``; None permits none.
        most: Most models served at once.
        kv_events: Publishes what their prefix caches hold; None: nothing is published.

    Raises:
        UsageError: two have one name, or there are more than ``most``.
        ServeError: the events cannot be published.
    """

    def __init__(
        self,
        models: Iterable[ServedModel],
        loader: Loader | None = None,
        most: int = 16,
        kv_events: KvEvents | None = None,
    ) -> None:
        self._models: dict[str, ServedModel] = {}
        for model in models:
            if model.name in self._models:
                raise UsageError(
                    "names two ingots", where=model.name, fix="give one another name: NAME=PATH"
                )
            self._models[model.name] = model
        if len(self._models) > most:
            raise UsageError(
                f"holds {len(self._models)} models, but at most {most} are allowed",
                where="server.max_models",
                fix="raise it, or serve fewer",
            )
        self._loader = loader
        self._most = most
        self._kv_events = kv_events
        self.exchanging = asyncio.Lock()
        """Held while a model is opened, replaced or released."""
        self._retiring: set[asyncio.Task[None]] = set()
        self._opened: list[ServedModel] = []
        """Models that ``replace`` opened and that are not closed yet."""
        for model in self._models.values():
            self._publish_events(model)

    @property
    def all(self) -> Mapping[str, ServedModel]:
        """Every model by name, in order of registration."""
        return self._models

    @property
    def event_publishers(self) -> Mapping[str, KvEventPublisher]:
        """What publishes the events of their caches, by name; empty unless asked for."""
        return {} if self._kv_events is None else self._kv_events.publishers

    @property
    def failed(self) -> str | None:
        """Why an engine has stopped for good; None while all work."""
        reasons = (model.loop.failed for model in self._models.values())
        return next((reason for reason in reasons if reason is not None), None)

    def find(self, name: str) -> ServedModel:
        """Return the model of this name.

        Raises:
            ApiError: 404 where there is none.
        """
        if name in self._models:
            return self._models[name]
        known = ", ".join(map(repr, list(self._models)[:5]))
        called = "the model is called" if len(self._models) == 1 else "the models are called"
        raise ApiError(
            404,
            f"unknown model {name[:80]!r}; {called} {known}",
            param="model",
            code="model_not_found",
        )

    async def replace(self, name: str, path: Path) -> ServedModel:
        """Open an ingot and serve it by the name; requests in flight finish on the old one.

        The one before is closed, and its memory returned, once its last request is
        answered. Both are in memory until then.

        Raises:
            ApiError: 400 where the ingot is refused, 409 where there are too many models; what was
                served stays.
        """
        async with self.exchanging:
            self._check_space(name)
            return self._take_in(await self._open(name, path, "stored", field="path"))

    async def quantize(self, name: str) -> ServedModel:
        """Serve a copy of a model, quantized to int8, beside it as ``NAME:int8``.

        Asked again it returns the copy that is there, while it is of the same ingot.

        Raises:
            ApiError: 404 where there is no such model, 409 where it is quantized already, its
                folder holds another ingot by now or there are too many models, 400 where the
                copy cannot be made.
        """
        async with self.exchanging:
            source = self.find(name)
            if source.weights != "stored" or source.ingot.manifest.quantization is not None:
                raise ApiError(409, f"{name!r} is quantized already", code="already_quantized")
            copy = self._models.get(f"{name}:int8")
            if copy and copy.weights == "int8" and copy.ingot.digest == source.ingot.digest:
                return copy
            self._check_space(f"{name}:int8")
            path = source.ingot.path
            copy = await self._open(f"{name}:int8", path, "int8", field="model")
            if copy.ingot.digest != source.ingot.digest:
                await asyncio.to_thread(copy.close)
                raise ApiError(
                    409,
                    f"{path.name} holds another ingot than the one served as {name!r}; serve "
                    "that first",
                    param="model",
                    code="ingot_changed",
                )
            return self._take_in(copy)

    async def unload(self, name: str) -> ServedModel:
        """Serve a model no longer; it is closed once its last request is answered.

        Raises:
            ApiError: 404 where there is no such model, 409 where it is the only one.
        """
        async with self.exchanging:
            model = self.find(name)
            if len(self._models) == 1:
                raise ApiError(
                    409,
                    f"{name!r} is the only model that is served; load another one first",
                    param="model",
                    code="only_model",
                )
            del self._models[name]
            if not model.asleep:
                self._retire_soon(model)
            return model

    async def release(self, model: ServedModel) -> None:
        """Close a model's engine and weights and return their memory; its entry stays.

        Requests of batches that still use it are ended; no client's request may.

        Raises:
            ServeError: the engine hangs.
        """
        await model.end_batch_requests()
        await asyncio.to_thread(model.close)
        if model in self._opened:
            self._opened.remove(model)
        await asyncio.to_thread(return_memory)

    async def reopen(self, model: ServedModel) -> None:
        """Open a released model's ingot again and serve it by its name.

        Raises:
            ApiError: 503 where it cannot be opened, or its folder holds another ingot by now.
        """
        path = model.ingot.path
        try:
            opened = await self._open(model.name, path, model.weights, field="model")
        except ApiError as error:
            raise ApiError(
                503, f"{model.name!r} cannot be loaded again: {error}", code="model_asleep"
            ) from error
        if opened.digest != model.digest:
            await asyncio.to_thread(opened.close)
            raise ApiError(
                503,
                f"{path.name} holds another ingot than the one served as {model.name!r}; serve "
                "that first",
                code="ingot_changed",
            )
        self._take_in(opened)

    def _check_space(self, name: str) -> None:
        """Refuse one more model than the server may hold.

        Raises:
            ApiError: 409 where ``name`` would be one too many.
        """
        if name not in self._models and len(self._models) >= self._most:
            raise ApiError(
                409,
                f"{len(self._models)} models are served, as many as server.max_models allows; "
                "unload one first",
                param="model",
                code="too_many_models",
            )

    async def _open(self, name: str, path: Path, weights: Weights, *, field: str) -> ServedModel:
        """Open an ingot without serving it; an error names ``field`` of the request."""
        if self._loader is None:
            raise ApiError(403, "this server was started without the means to open ingots")
        try:
            ingot, loop = await asyncio.to_thread(self._loader, path, weights)
        except IngotError as error:
            raise ApiError(400, str(error), param=field, code="ingot_refused") from error
        return ServedModel(name, ingot, loop, weights)

    def _take_in(self, model: ServedModel) -> ServedModel:
        """Serve an opened model in place of the one that had its name."""
        before = self._models.get(model.name)
        self._models[model.name] = model
        self._opened.append(model)
        self._publish_events(model)
        if before is not None and not before.asleep:
            self._retire_soon(before)
        return model

    def _retire_soon(self, model: ServedModel) -> None:
        """Close a model that has no name any more, once it has no users."""
        task = asyncio.create_task(self._retire(model))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _publish_events(self, model: ServedModel) -> None:
        """Publish what a model's prefix cache holds, if that is asked for."""
        if self._kv_events is not None:
            self._kv_events.watch(model.name, model.loop)

    def close_opened(self) -> None:
        """Close the models that ``replace`` opened, and every process of templates and grammars.

        Raises:
            ServeError: an engine hangs.
        """
        for model in self._models.values():
            model.close_processes()
        while self._opened:
            self._opened.pop().close()

    async def _retire(self, model: ServedModel) -> None:
        digest = model.ingot.digest[:12]
        try:
            await model.close_unused()
            if model in self._opened:
                self._opened.remove(model)
        except ServeError as error:
            _log.error("ingot %s of model %s: %s", digest, model.name, error)
        else:
            _log.info("ingot %s of model %s is closed", digest, model.name)
