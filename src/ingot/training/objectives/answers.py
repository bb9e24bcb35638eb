"""Prompts with answers as padded rows of tokens, and the answers' log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ingot.model.transformer import Transformer
from ingot.training.compute.precision import Precision
from ingot.training.data.answers import ScoredTokens
from ingot.training.data.batch import Batch
from ingot.training.objectives.next_token import row_log_probabilities

_TOKENS_AT_ONCE = 8192


def padded(answers: Sequence[ScoredTokens], eos_id: int) -> Batch:
    """Return answers as rows of the longest one's length, padded at the end; padding is masked."""
    length = max(len(answer.ids) for answer in answers)
    ids = np.full((len(answers), length), eos_id, np.int64)
    counted = np.zeros((len(answers), length), np.bool_)
    for row, answer in enumerate(answers):
        ids[row, : len(answer.ids)] = answer.ids
        counted[row, : len(answer.ids)] = answer.counted
    return Batch(ids, counted[:, 1:], None)


@torch.no_grad()
def log_probabilities(
    model: Transformer, answers: Sequence[ScoredTokens], eos_id: int, precision: Precision
) -> NDArray[np.float32]:
    """Return each answer's log-probability after its prompt, in nats.

    Rows of like length are computed together.

    Args:
        model: The model, on the device of ``precision``.
        answers: None longer than the model's context and one.
        eos_id: The token to pad with.
        precision: The arithmetic to use.
    """
    found = np.empty(len(answers), np.float32)
    order = sorted(range(len(answers)), key=lambda row: len(answers[row].ids))
    while order:
        at_once = max(1, _TOKENS_AT_ONCE // len(answers[order[-1]].ids))
        rows, order = order[-at_once:], order[:-at_once]
        batch = padded([answers[row] for row in rows], eos_id)
        with precision.autocast():
            scores = row_log_probabilities(model, batch, precision.device)
        found[rows] = scores.cpu().numpy()
    return found
