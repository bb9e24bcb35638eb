from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ingot.model.transformer import Transformer
from ingot.training.compute.precision import Precision
from ingot.training.data.answers import ScoredTokens
from ingot.training.objectives import answers as answers_module
from ingot.training.objectives.answers import log_probabilities, padded


def some_answers() -> list[ScoredTokens]:
    random = np.random.default_rng(2)
    made = []
    for length in (12, 3, 30, 7, 30, 2):
        ids = random.integers(1, 300, length).astype(np.int32)
        made.append(ScoredTokens(ids, np.arange(length) > length // 2))
    return made


def test_rows_end_with_what_does_not_count() -> None:
    first, second = some_answers()[:2]
    batch = padded([first, second], eos_id=0)
    assert batch.ids.shape == (2, 12)
    np.testing.assert_array_equal(batch.ids[1], [*second.ids, *[0] * 9])
    assert batch.mask is not None
    np.testing.assert_array_equal(batch.mask[1], [*second.counted[1:], *[False] * 9])


@pytest.mark.parametrize("at_once", [1, 64, 8192])
def test_answers_are_as_likely_together_as_alone(
    at_once: int, new_model: Callable[..., Transformer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers_module, "_TOKENS_AT_ONCE", at_once)
    model, answers = new_model(), some_answers()
    found = log_probabilities(model, answers, 0, Precision.choose("float32"))
    for answer, score in zip(answers, found, strict=True):
        ids = torch.from_numpy(answer.ids.astype(np.int64))
        scores = model.logits(model(ids[None, :-1]))[0].log_softmax(-1)
        wanted = scores[torch.arange(len(ids) - 1), ids[1:]]
        expected = wanted[torch.from_numpy(answer.counted[1:])].sum().item()
        assert score == pytest.approx(expected, abs=1e-3)


def test_a_cut_answer_keeps_its_beginning() -> None:
    answer = some_answers()[0]
    short = answer.cut(5)
    np.testing.assert_array_equal(short.ids, answer.ids[:5])
    np.testing.assert_array_equal(short.counted, answer.counted[:5])
