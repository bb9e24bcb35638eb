from __future__ import annotations

from pathlib import Path

from ingot.artifact import open_ingot
from ingot.inference import EngineConfig
from ingot.lesson.experiments.cache_growth import trace_cache
from ingot.lesson.experiments.evidence import unchanged


def test_the_cache_grows_and_the_weights_stay(sealed: Path) -> None:
    growth = trace_cache(sealed, tokens=32)
    assert [row.answers for row in growth.rows] == [0, 1, 4, 8]
    assert [row.tokens for row in growth.rows] == [0, 32, 128, 256]
    held = [row.cache_bytes for row in growth.rows]
    assert held == sorted(set(held))
    with open_ingot(sealed) as ingot:
        block = EngineConfig().block_size * ingot.config.kv_bytes()
    # A start and 32 tokens are 33; of the last one keys and values are not needed.
    assert held == [0, *(answers * 2 * block for answers in (1, 4, 8))]
    assert len({row.digest for row in growth.rows}) == 1
    assert f"from 0 to {held[-1]:,} bytes; the digest over the weights is the same" in unchanged(
        growth
    )
