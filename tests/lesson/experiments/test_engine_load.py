from __future__ import annotations

import pytest

from ingot.api.inference import Model
from ingot.lesson.experiments.engine_load import time_answers


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("cached", [True, False])
def test_every_user_gets_every_token(model: Model, together: bool, cached: bool) -> None:
    before = model.loop.stats()
    prompts = [[1, 2, 3] * 8, [4, 5]]
    timing = time_answers(model, prompts, tokens=6, together=together, cached=cached)
    after = model.loop.stats()
    assert (timing.answers, timing.tokens) == (2, 12)
    assert after.generated_tokens - before.generated_tokens == 12
    assert after.cached_tokens == before.cached_tokens  # of no question asked before
    again = sum(range(6)) * 2  # each answer's own tokens, read again for each that follows
    read = 26 if cached else 26 * 6 + again
    assert after.prefill_tokens - before.prefill_tokens == read
    assert 0 < timing.first_token_seconds < timing.seconds
    assert timing.tokens_per_second == 12 / timing.seconds
