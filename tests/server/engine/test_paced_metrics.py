"""Tests of the renderings that readers of the metrics share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import pytest

from ingot.server.access.api_keys import Key
from ingot.server.engine.paced_metrics import SHARE, Bodies, PacedMetrics

KEY = Key(name="one", sha256="0" * 64)


class Rendering:
    """Counts its calls, each of which takes a while, and says how often something happened."""

    def __init__(self) -> None:
        self.happened = 0
        self.times: list[tuple[float, float]] = []

    def __call__(self, keys: Iterable[Key | None]) -> Bodies:
        began = time.monotonic()
        time.sleep(0.005)
        self.times.append((began, time.monotonic()))
        return {key: f"{key and key.name} {self.happened}".encode() for key in keys}


def test_readers_share_renderings_that_are_never_older_than_they_asked() -> None:
    """Readers of all keys at once: one rendering, and a pause of nine times its length."""
    rendering = Rendering()

    async def read_often() -> None:
        paced = PacedMetrics(rendering)
        for turn in range(4):
            rendering.happened = turn
            bodies = await asyncio.gather(*[paced.read(key) for key in (None, KEY) * 20])
            assert bodies == [b"None %d" % turn, b"one %d" % turn] * 20

    asyncio.run(read_often())
    assert len(rendering.times) == 4
    for (began, ended), (later, _) in zip(rendering.times, rendering.times[1:], strict=False):
        assert later - ended >= (ended - began) * (1 / SHARE - 1) * 0.8  # the clock's own error


def test_a_reader_that_leaves_takes_nothing_from_the_others() -> None:
    async def leave() -> bytes:
        paced = PacedMetrics(Rendering())
        first = asyncio.create_task(paced.read(None))
        second = asyncio.create_task(paced.read(None))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(leave()) == b"None 0"


def test_a_rendering_that_fails_fails_for_those_who_asked_alone() -> None:
    def render(keys: Iterable[Key | None]) -> Bodies:
        nonlocal broken
        if broken:
            broken = False
            raise RuntimeError("no figures")
        return dict.fromkeys(keys, b"figures")

    async def read_twice() -> bytes:
        paced = PacedMetrics(render)
        with pytest.raises(RuntimeError, match="no figures"):
            await paced.read(None)
        return await paced.read(None)

    broken = True
    assert asyncio.run(read_twice()) == b"figures"
