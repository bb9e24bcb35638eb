from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ingot.model.attend import attention_within, causal_mask
from ingot.model.transformer import Transformer
from ingot.training.compute.attention import first_seen, segment_attention, segment_positions
from ingot.training.data.batch import Batch
from ingot.training.objectives.next_token import hidden_states


def test_positions_restart_in_each_segment() -> None:
    segments = np.array([[0, 0, 0, 1, 1, 2], [4, 5, 5, 5, 4, 4]], np.int32)
    np.testing.assert_array_equal(
        segment_positions(segments), [[0, 1, 2, 0, 1, 0], [0, 0, 1, 2, 0, 1]]
    )


@pytest.mark.parametrize("lengths", [[24], [1, 23], [9, 1, 14], [5, 5, 7, 7]])
def test_packed_examples_give_what_each_gives_alone(
    new_model: Callable[..., Transformer], lengths: list[int]
) -> None:
    model = new_model()
    ids = torch.randint(
        model.config.vocab_size, (2, 24), generator=torch.Generator().manual_seed(5)
    )
    rows = np.stack([np.repeat(np.arange(len(lengths)), lengths), np.zeros(24)]).astype(np.int32)
    positions = torch.from_numpy(segment_positions(rows))
    packed = model(ids, positions, segment_attention(torch.from_numpy(rows)))
    alone = torch.cat([model(part[None]) for part in ids[0].split(lengths)], dim=1)
    torch.testing.assert_close(packed[:1], alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(packed[1:], model(ids[1:]), rtol=0, atol=1e-5)


def test_nothing_leaks_between_segments(new_model: Callable[..., Transformer]) -> None:
    model = new_model()
    segments = np.array([[0] * 8 + [1] * 8], np.int32)
    positions = torch.from_numpy(segment_positions(segments))
    attend = segment_attention(torch.from_numpy(segments))
    ids = torch.arange(16)[None]
    other = ids.clone()
    other[:, :8] += 100
    before, after = model(ids, positions, attend), model(other, positions, attend)
    assert torch.equal(before[:, 8:], after[:, 8:])
    assert not torch.equal(before[:, :8], after[:, :8])


@pytest.mark.parametrize("window", [1, 3, 7])
def test_a_window_bounds_segments_too(new_model: Callable[..., Transformer], window: int) -> None:
    model = new_model()
    ids = torch.randint(
        model.config.vocab_size, (1, 24), generator=torch.Generator().manual_seed(5)
    )
    rows = np.repeat(np.arange(2), [15, 9])[None].astype(np.int32)
    positions = torch.from_numpy(segment_positions(rows))
    packed = model(ids, positions, segment_attention(torch.from_numpy(rows), window))
    near = [attention_within(window, length, ids.device) for length in (15, 9)]
    alone = [
        model(part, attend=attend)
        for part, attend in zip(ids.split([15, 9], dim=1), near, strict=True)
    ]
    torch.testing.assert_close(packed, torch.cat(alone, dim=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("window", [None, 1, 3, 30])
def test_what_is_seen_first_says_the_same_as_a_mask(window: int | None) -> None:
    segments = np.array([[0] * 5 + [1] * 1 + [2] * 18, [3] * 24], np.int32)
    starts = torch.from_numpy(first_seen(segments, window))[:, :, None]
    positions = torch.arange(24)
    from_starts = (positions[None, None, :] >= starts) & (positions[None, :] <= positions[:, None])
    rows = torch.from_numpy(segments)
    near = causal_mask(window, 24, rows.device)
    assert torch.equal(from_starts, (rows[:, :, None] == rows[:, None, :]) & near)


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("apart", [False, True])
def test_a_batch_in_bfloat16_gives_what_float32_gives(
    new_model: Callable[..., Transformer], window: int | None, apart: bool
) -> None:
    model = new_model(head_dim=16, sliding_window=window)
    ids = torch.randint(
        model.config.vocab_size, (2, 41), generator=torch.Generator().manual_seed(5)
    )
    segments = np.repeat(np.arange(4), [10, 1, 25, 4])[None].repeat(2, 0).astype(np.int32)
    batch = Batch(ids.numpy(), None, segments if apart else None)
    device = torch.device("cpu")
    exact = hidden_states(model, batch, device)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = hidden_states(model, batch, device)
    assert (rounded - exact).norm() < 0.02 * exact.norm()
