from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ingot.corpus import Corpus, Sampler, segments_of

EOS = 0


def counted_by_hand(row: list[int]) -> list[int]:
    segment, segments = 0, []
    for token in row[:-1]:
        segments.append(segment)
        if token == EOS:
            segment += 1
    return segments


@settings(max_examples=60, deadline=None)
@given(
    windows=st.tuples(st.integers(0, 4), st.integers(1, 20)).flatmap(
        lambda shape: arrays(np.int64, shape, elements=st.integers(0, 3))
    )
)
def test_every_input_token_has_the_number_of_ends_before_it(windows: np.ndarray) -> None:
    segments = segments_of(windows, EOS)
    assert segments.dtype == np.int32
    assert segments.shape == (windows.shape[0], windows.shape[1] - 1)
    assert segments.tolist() == [counted_by_hand(row) for row in windows.tolist()]


def test_the_end_of_text_belongs_to_the_document_it_ends() -> None:
    windows = np.array([[7, EOS, 8, 8, EOS, EOS, 9], [EOS, 7, 7, 7, 7, 7, EOS]])
    assert segments_of(windows, EOS).tolist() == [[0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 1, 1]]


def test_the_windows_of_a_sampler_fit(corpus: Corpus) -> None:
    windows = Sampler(corpus.train, context=200, batch=8, seed=0).next_batch()
    segments = segments_of(windows, corpus.tokenizer.eos_id)
    assert segments.shape == (8, 200)
    assert (segments[:, 0] == 0).all()
    assert segments.max() > 0
    assert np.isin(np.diff(segments, axis=1), [0, 1]).all()


@pytest.mark.parametrize("shape", [(3,), (2, 0), (1, 2, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"wanted \(B, T \+ 1\)"):
        segments_of(np.zeros(shape, np.int64), EOS)
