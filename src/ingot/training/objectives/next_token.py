"""The loss of predicting the next token, over a batch of sequences."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ingot.model.transformer import Transformer
from ingot.training.compute.attention import attention_for, segment_positions
from ingot.training.compute.precision import on_device
from ingot.training.data.batch import Batch
from ingot.training.objectives.cross_entropy import summed_cross_entropy, token_cross_entropy


def hidden_states(model: Transformer, batch: Batch, device: torch.device) -> Tensor:
    """Return the hidden states (B, T, D) of every prediction, segments kept apart."""
    inputs = on_device(batch.ids[:, :-1], device)
    attend = attention_for(model.config, inputs, batch.segments)
    positions = None
    if batch.segments is not None:
        positions = on_device(segment_positions(batch.segments), device)
    hidden: Tensor = model(inputs, positions, attend)
    return hidden


def next_token_loss(model: Transformer, batch: Batch, device: torch.device) -> Tensor:
    """Return the cross-entropy summed over the predictions that count, a float32 scalar."""
    hidden = hidden_states(model, batch, device).flatten(0, 1)
    targets = on_device(batch.ids[:, 1:], device).flatten()
    if batch.mask is not None:
        counted = counted_indices(batch.mask, device)
        hidden, targets = hidden[counted], targets[counted]
    return summed_cross_entropy(hidden, model.head_weight, targets)


def row_log_probabilities(model: Transformer, batch: Batch, device: torch.device) -> Tensor:
    """Return, for each row, the log-probability of the tokens that count: float32, (B,)."""
    mask = np.ones(batch.ids[:, 1:].shape, np.bool_) if batch.mask is None else batch.mask
    counted = counted_indices(mask, device)
    hidden = hidden_states(model, batch, device).flatten(0, 1)[counted]
    targets = on_device(batch.ids[:, 1:], device).flatten()[counted]
    losses = token_cross_entropy(hidden, model.head_weight, targets)
    spread = torch.zeros(mask.size, device=device).index_copy(0, counted, losses)
    return -spread.view(mask.shape).sum(1)


def counted_indices(mask: NDArray[np.bool_], device: torch.device) -> Tensor:
    """Return the indices of true values in a flattened mask, int64."""
    return on_device(np.flatnonzero(mask), device)
