"""Tests of the precedence of clients' requests over background work."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable

import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop, OutputDelta, SamplingParams
from ingot.inference.request.params import RequestOptions
from ingot.server.engine.background_hold import QUIET_S, BackgroundHold
from ingot.server.engine.model_registry import Models, ServedModel


def test_a_model_opened_during_a_request_is_held_from_the_next_on(
    ingot: Ingot, engine: EngineLoop, make_engine: Callable[[], EngineLoop]
) -> None:
    later = make_engine()
    models = Models([ServedModel("first", ingot, engine)], lambda *_: (ingot, later))
    hold = BackgroundHold(models)
    said: queue.Queue[OutputDelta] = queue.Queue()
    params = SamplingParams(max_tokens=2, temperature=0, ignore_eos=True)
    try:
        with hold.held():
            asyncio.run(models.replace("later", ingot.path))
            with hold.held():
                later.submit([1, 2, 3], params, said.put, RequestOptions(background=True))
                with pytest.raises(queue.Empty):
                    said.get(timeout=0.3)
            with pytest.raises(queue.Empty):  # the outer request is open still
                said.get(timeout=0.3)
        assert said.get(timeout=300)
    finally:
        later.close(5)


def test_it_is_quiet_once_no_request_was_open_for_a_while(ingot: Ingot, engine: EngineLoop) -> None:
    now = [100.0]
    hold = BackgroundHold(Models([ServedModel("first", ingot, engine)]), lambda: now[0])

    async def main() -> None:
        await asyncio.wait_for(hold.until_quiet(), 300)  # no request ever came
        with hold.held():
            waiting = asyncio.create_task(hold.until_quiet())
            now[0] += 10 * QUIET_S
            await asyncio.sleep(0.6)
            assert not waiting.done()
        now[0] += QUIET_S / 2
        await asyncio.sleep(0.6)
        assert not waiting.done()
        now[0] += QUIET_S / 2
        await asyncio.wait_for(waiting, 300)

    asyncio.run(main())
