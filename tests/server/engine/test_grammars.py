from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ingot.artifact import Ingot
from ingot.server.engine import grammars
from ingot.server.engine.grammars import GrammarCache
from ingot.server.http.errors import ApiError


def run(ingot: Ingot, work: Callable[[GrammarCache], Awaitable[Any]]) -> Any:
    async def inside() -> Any:
        with contextlib.closing(GrammarCache(ingot.tokenizer)) as cache:
            return await work(cache)

    return asyncio.run(inside())


def test_a_grammar_is_compiled_once_for_each_tenant(ingot: Ingot) -> None:
    async def work(cache: GrammarCache) -> None:
        one, again = await asyncio.gather(
            *(cache.of("a").compile("regex", "ab", "regex") for _ in range(2))
        )
        other = await cache.of("b").compile("regex", "ab", "regex")
        assert one is again is not other

    run(ingot, work)


def test_kept_grammars_are_bounded_by_their_bytes(
    ingot: Ingot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS A3: measured bytes, for each tenant and in all; the largest tenant pays."""
    monkeypatch.setattr(grammars, "_REST", 0.0)

    async def work(cache: GrammarCache) -> None:
        for n in range(3):
            await cache.of("small").compile("regex", f"a{n}", "regex")
        before = cache.of("small").bytes
        assert before > 3 * 4096
        monkeypatch.setattr(grammars, "_MAX_TENANT_BYTES", 10 * before)
        for n in range(60):
            await cache.of("large").compile("regex", f"b{n}", "regex")
        assert before < cache.of("large").bytes <= 10 * before
        monkeypatch.setattr(grammars, "_MAX_BYTES", 3 * before)
        await cache.of("large").compile("regex", "c", "regex")
        assert cache.bytes <= 3 * before
        assert cache.of("small").bytes == before, "what another uses is not dropped"

    run(ingot, work)


def test_a_refused_grammar_is_not_kept_and_costs_a_rest(
    ingot: Ingot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS A3: a tenant that has the machine compile waits; others do not."""
    monkeypatch.setattr(grammars, "_WAIT_S", 0.05)

    async def work(cache: GrammarCache) -> None:
        await cache.of("b").compile("regex", "ab", "regex")
        with pytest.raises(ApiError) as refused:
            await cache.of("a").compile("regex", "(a{20000}){30000}", "regex")
        assert (refused.value.status, refused.value.body.error.code) == (400, "invalid_grammar")
        assert cache.of("a").bytes == 0
        waiting = [
            asyncio.create_task(cache.of("a").compile("regex", f"a{n}", "regex")) for n in range(2)
        ]
        with pytest.raises(ApiError) as busy:
            await waiting[1]
        assert (busy.value.status, busy.value.body.error.code) == (429, "grammars_busy")
        assert await cache.of("b").compile("regex", "cd", "regex")
        assert not waiting[0].done()
        assert await waiting[0]

    run(ingot, work)
