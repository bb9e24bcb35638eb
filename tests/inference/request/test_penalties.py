from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.inference import SamplingParams
from ingot.inference.executors.sampling import adjust
from ingot.inference.request.penalties import Penalties, needs_penalties

VOCABULARY = 40
tokens = st.lists(st.integers(0, VOCABULARY - 1), max_size=30)
params = st.builds(
    SamplingParams,
    repetition_penalty=st.sampled_from([1.0, 0.5, 1.3, 10.0]),
    presence_penalty=st.sampled_from([0.0, 1.5, -2.0]),
    frequency_penalty=st.sampled_from([0.0, 0.7, -0.1]),
    logit_bias=st.dictionaries(
        st.integers(0, VOCABULARY - 1), st.sampled_from([-100.0, 0.5, 3.0]), max_size=5
    ).map(lambda bias: tuple(bias.items())),
)


@settings(max_examples=80, deadline=None)
@given(params, tokens, tokens, st.integers(0, 5))
def test_scores_change_as_the_parameters_say(
    params: SamplingParams, prompt: list[int], output: list[int], undone: int
) -> None:
    penalties = Penalties(params, prompt)
    for token in [*output, *range(undone)]:
        penalties.append(token)
    for token in range(undone):
        penalties.rollback(token)
    logits = np.random.default_rng(0).normal(size=VOCABULARY).astype(np.float32)
    got = adjust(logits, penalties.adjustment())
    counts, bias = Counter(output), dict(params.logit_bias)
    for token in range(VOCABULARY):
        score = float(logits[token])
        if token in counts or token in prompt:
            factor = params.repetition_penalty
            score = score / factor if score > 0 else score * factor
        score -= params.presence_penalty * (token in counts)
        score -= params.frequency_penalty * counts[token]
        score += bias.get(token, 0.0)
        assert got[token] == pytest.approx(score, rel=1e-6, abs=1e-6)


def test_each_token_is_named_once() -> None:
    penalties = Penalties(SamplingParams(repetition_penalty=2.0, logit_bias=((3, 1.0),)), [1, 2, 1])
    for token in (5, 1, 3, 5):
        penalties.append(token)
    assert sorted(penalties.adjustment().ids.tolist()) == [1, 2, 3, 5]


@pytest.mark.parametrize(
    "changed",
    [
        {"repetition_penalty": 1.1},
        {"presence_penalty": -0.1},
        {"frequency_penalty": 0.1},
        {"logit_bias": ((1, 0.5),)},
    ],
)
def test_what_changes_scores_is_known(changed: dict[str, float]) -> None:
    assert needs_penalties(SamplingParams(**changed))
    assert not needs_penalties(SamplingParams())
