"""Sleep and wake: an idle model's memory is released, and comes back with the next request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ingot.errors import ServeError
from ingot.server.engine.model_registry import Models, ServedModel
from ingot.server.http.errors import ApiError

_log = logging.getLogger(__name__)


class Sleeper:
    """Puts idle models to sleep and wakes them. Used on the event loop alone.

    A model sleeps as the same entry of the registry, its engine and weights closed; waking opens
    its ingot again and takes it in under its name. Both hold the registry's lock, so a request
    that arrives while memory is released waits for that, then for the wake; and however many
    arrive, the ingot is opened once.

    Args:
        models: The registry.
        idle_s: Seconds without a request after which a model sleeps; None: never.
        clock: Seconds that never go back.
    """

    def __init__(
        self, models: Models, idle_s: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._models = models
        self._idle_s = idle_s
        self._clock = clock
        self._waking: dict[str, asyncio.Task[None]] = {}
        self._sleeping: asyncio.Task[None] | None = None
        self.wakes: dict[str, list[float]] = {}
        """Seconds that the wakes of each model took: how many, all together, the last one."""

    def wake_s(self, name: str) -> float | None:
        """Return how long the last wake of a model took; None before the first."""
        wakes = self.wakes.get(name)
        return None if wakes is None else wakes[-1]

    def metrics(self) -> Iterator[Metric]:
        """Yield which models sleep, and how often and how long they woke."""
        asleep = GaugeMetricFamily(
            "ingot:model_asleep", "1 while a model's memory is released.", labels=("model_name",)
        )
        for model in self._models.all.values():
            asleep.add_metric((model.name,), model.asleep)
        wakes = CounterMetricFamily("ingot:model_wakes", "Wakes.", labels=("model_name",))
        total = CounterMetricFamily(
            "ingot:model_wake_seconds", "Seconds of all wakes.", labels=("model_name",)
        )
        last = GaugeMetricFamily(
            "ingot:model_last_wake_seconds", "Seconds of the last wake.", labels=("model_name",)
        )
        for name, (count, seconds, latest) in self.wakes.items():
            wakes.add_metric((name,), count)
            total.add_metric((name,), seconds)
            last.add_metric((name,), latest)
        yield from (asleep, wakes, total, last)

    async def awake(self, name: str, timeout_s: float) -> ServedModel:
        """Return the model of a name, woken if it sleeps.

        Raises:
            ApiError: 404 where there is none; 503 where its ingot cannot be opened again or that
                takes longer than ``timeout_s``.
        """
        model = self._models.find(name)
        if not model.asleep:
            return model
        task = self._waking.get(name)
        if task is None:
            task = asyncio.create_task(self._wake(name))
            self._waking[name] = task
            task.add_done_callback(lambda _: self._waking.pop(name, None))
        try:
            # A client that leaves or gives up does not stop what others wait for.
            await asyncio.wait_for(asyncio.shield(task), timeout_s)
        except TimeoutError as error:
            raise ApiError(
                503,
                f"{name!r} was asleep and is still being loaded after {timeout_s:g} s; try again",
                code="model_asleep",
            ) from error
        return await self.awake(name, timeout_s)

    def sleep_idle(self) -> None:
        """Begin to put every model to sleep that was idle for long enough; returns at once."""
        if self._idle_s is None or (self._sleeping is not None and not self._sleeping.done()):
            return
        if any(self._is_idle(model) for model in self._models.all.values()):
            self._sleeping = asyncio.create_task(self._sleep_all())

    def _is_idle(self, model: ServedModel) -> bool:
        idle_s = model.idle_s(self._clock())
        return not model.asleep and idle_s is not None and idle_s >= (self._idle_s or 0.0)

    async def _sleep_all(self) -> None:
        for name in list(self._models.all):
            async with self._models.exchanging:
                model = self._models.all.get(name)
                # Checked again: a request may have come while the lock was waited for.
                if model is None or not self._is_idle(model):
                    continue
                await self._sleep(model)

    async def _sleep(self, model: ServedModel) -> None:
        model.asleep = True  # before anything is awaited: from now on requests wait for a wake
        began = self._clock()
        try:
            await self._models.release(model)
        except ServeError as error:
            _log.error("model %s does not sleep: %s", model.name, error)
            return
        expected = self.wake_s(model.name)
        _log.info(
            "model %s sleeps after %g s idle, released in %.2f s; the next request waits %s",
            model.name,
            self._idle_s,
            self._clock() - began,
            "while it is loaded" if expected is None else f"about {expected:.2f} s",
        )

    async def _wake(self, name: str) -> None:
        async with self._models.exchanging:
            model = self._models.all.get(name)
            if model is None or not model.asleep:
                return  # unloaded or replaced meanwhile
            began = self._clock()
            try:
                await self._models.reopen(model)
            except ApiError as error:
                _log.error("model %s does not wake: %s", name, error)
                raise
            took = self._clock() - began
        count, total, _ = self.wakes.get(name, [0.0, 0.0, 0.0])
        self.wakes[name] = [count + 1, total + took, took]
        _log.info("model %s woke in %.2f s", name, took)
