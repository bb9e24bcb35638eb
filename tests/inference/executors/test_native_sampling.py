"""The core's own sampling against the reference in ``ingot.inference.executors.sampling``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.artifact import Ingot
from ingot.inference import SamplingParams
from ingot.inference.executors.base import Failure, ModelInput, SamplingRow
from ingot.inference.executors.native import NativeExecutor
from ingot.inference.executors.sampling import draw
from ingot.inference.request.penalties import Adjustment
from ingot.inference.request.sequence import SampledToken

VOCABULARY = 300


@pytest.fixture(scope="module")
def executor(ingot: Ingot) -> Iterator[NativeExecutor]:
    assert ingot.tokenizer.vocab_size == VOCABULARY
    made = NativeExecutor(ingot, num_blocks=4, threads=2)
    yield made
    made.close()


params = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 1e-320, 0.2, 0.7, 1.0, 3.0]),
    top_p=st.sampled_from([1.0, 0.9, 0.3, 1e-6]),
    top_k=st.sampled_from([0, 1, 5, 1000]),
    min_p=st.sampled_from([0.0, 0.05, 1.0]),
    typical_p=st.sampled_from([1.0, 0.9, 0.2, 1e-6]),
    logprobs=st.sampled_from([None, 0, 5]),
)
tokens = st.integers(0, VOCABULARY - 1)
shift = st.sampled_from([-100.0, -2.0, 0.0, 0.3, 100.0])
factor = st.sampled_from([0.5, 1.0, 1.3, 1e3])


@st.composite
def adjustments(draw_from: st.DrawFn) -> Adjustment:
    ids = draw_from(st.lists(tokens, unique=True, max_size=40))
    factors = draw_from(st.lists(factor, min_size=len(ids), max_size=len(ids)))
    shifts = draw_from(st.lists(shift, min_size=len(ids), max_size=len(ids)))
    return Adjustment(
        np.array(ids, dtype=np.int32), np.array(factors, "f8"), np.array(shifts, "f8")
    )


@st.composite
def masks(draw_from: st.DrawFn) -> np.ndarray:
    """Words of allowed tokens, at least one of them below the vocabulary."""
    seed = draw_from(st.integers(0, 999))
    share = draw_from(st.sampled_from([0.0, 0.01, 0.5, 1.0]))
    bits = np.random.default_rng(seed).random(320) < share
    bits[draw_from(tokens)] = True
    return np.packbits(bits, bitorder="little").view(np.uint32)


rows = st.builds(
    SamplingRow,
    params,
    st.integers(0, 2**64 - 1),
    st.integers(1, 1000),
    forced_token=st.none() | tokens,
    adjustment=st.none() | adjustments(),
    mask=st.none() | masks(),
)


def same(drawn: SampledToken, expected: SampledToken) -> None:
    assert drawn.token_id == expected.token_id
    if expected.logprob is None or drawn.logprob is None:
        assert drawn.logprob is expected.logprob
        return
    assert drawn.logprob.token_id == expected.logprob.token_id
    assert drawn.logprob.logprob == pytest.approx(expected.logprob.logprob, abs=1e-5)
    assert [pair[0] for pair in drawn.logprob.top] == [pair[0] for pair in expected.logprob.top]
    for mine, other in zip(drawn.logprob.top, expected.logprob.top, strict=True):
        assert mine[1] == pytest.approx(other[1], abs=1e-5)


@settings(max_examples=150, deadline=None)
@given(st.lists(rows, min_size=1, max_size=3), st.lists(tokens, min_size=3, max_size=6))
def test_draws_what_the_reference_draws(
    executor: NativeExecutor, asked: list[SamplingRow], prompt: list[int]
) -> None:
    model_input = ModelInput(prompt, 0, [0], asked[-1], tuple(asked[:-1]))
    scores = executor.model.logits([model_input])[:, :VOCABULARY]
    drawn = executor.step([model_input])[0]
    assert isinstance(drawn, SampledToken)
    for one, row, line in zip((*drawn.verified, drawn), asked, scores, strict=True):
        same(one, draw(line, row))


def test_scores_of_earlier_rows_are_those_of_shorter_chunks(executor: NativeExecutor) -> None:
    row = SamplingRow(SamplingParams(), 0, 0)
    together = executor.model.logits([ModelInput([5, 6, 7, 8], 0, [1], row, (row, row))])
    for end, scores in zip((2, 3, 4), together, strict=True):
        alone = executor.model.logits([ModelInput([5, 6, 7, 8][:end], 0, [2], row)])
        assert np.array_equal(scores, alone[0])


def test_many_rows_are_scored_a_few_at_a_time(ingot: Ingot) -> None:
    executor = NativeExecutor(ingot, num_blocks=8, threads=2)
    prompt = np.random.default_rng(0).integers(0, VOCABULARY, 128).tolist()
    row = SamplingRow(SamplingParams(logprobs=0), 0, 0)
    rows = [row._replace(forced_token=token) for token in [*prompt[1:], 0]]
    model_input = ModelInput(prompt, 0, list(range(8)), rows[-1], tuple(rows[:-1]))
    scores = executor.model.logits([model_input])[:, :VOCABULARY].astype(np.float64)
    drawn = executor.step([model_input])[0]
    assert isinstance(drawn, SampledToken)
    expected = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    for index, one in enumerate((*drawn.verified, drawn)):
        assert one.token_id == rows[index].forced_token
        assert one.logprob is not None
        assert one.logprob.logprob == pytest.approx(expected[index, one.token_id], abs=1e-4)


def test_a_mask_that_allows_nothing_is_an_error(executor: NativeExecutor) -> None:
    nothing = np.zeros(10, dtype=np.uint32)
    nothing[9] = 0xFFFFF000  # only bits past the vocabulary
    for temperature in (0.0, 1.0):
        row = SamplingRow(SamplingParams(temperature=temperature), 0, 7, mask=nothing)
        [result] = executor.step([ModelInput([1], 0, [0], row)])
        assert result == Failure("grammar: allows no token at position 7")
