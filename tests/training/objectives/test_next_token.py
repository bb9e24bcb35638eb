from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from ingot.model.transformer import Transformer
from ingot.training.data.batch import Batch
from ingot.training.objectives.next_token import next_token_loss

NewModel = Callable[..., Transformer]
CPU = torch.device("cpu")


def random_ids(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 300, shape)


def test_the_loss_is_the_sum_over_all_predictions(new_model: NewModel) -> None:
    model, ids = new_model(), random_ids(3, 17)
    logits = model.logits(model(torch.from_numpy(ids[:, :-1])))
    expected = functional.cross_entropy(
        logits.flatten(0, 1), torch.from_numpy(ids[:, 1:]).flatten(), reduction="sum"
    )
    torch.testing.assert_close(next_token_loss(model, Batch(ids, None, None), CPU), expected)


def test_masked_predictions_do_not_count(new_model: NewModel) -> None:
    model, ids = new_model(), random_ids(3, 17)
    mask = np.zeros((3, 16), bool)
    mask[0, 3:6] = mask[2, 15] = True
    logits = model.logits(model(torch.from_numpy(ids[:, :-1])))
    losses = functional.cross_entropy(logits.mT, torch.from_numpy(ids[:, 1:]), reduction="none")
    loss = next_token_loss(model, Batch(ids, mask, None), CPU)
    torch.testing.assert_close(loss, losses[torch.from_numpy(mask)].sum())


def test_nothing_that_counts_is_a_loss_of_zero(new_model: NewModel) -> None:
    batch = Batch(random_ids(2, 9), np.zeros((2, 8), bool), None)
    loss = next_token_loss(new_model(), batch, CPU)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0


def test_accumulated_parts_give_the_whole_batches_gradients(new_model: NewModel) -> None:
    ids = random_ids(8, 17)
    mask = np.random.default_rng(8).random((8, 16)) < np.linspace(0.1, 0.9, 8)[:, None]
    batch = Batch(ids, mask, (np.arange(16) // 5)[None].repeat(8, 0).astype(np.int32))
    whole, parts = new_model(), new_model()
    (next_token_loss(whole, batch, CPU) / batch.weight).backward()
    for part in batch.split(3):
        (next_token_loss(parts, part, CPU) / batch.weight).backward()
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert (one.grad - other.grad).norm() <= 1e-6 * one.grad.norm()


def test_packed_examples_lose_what_each_loses_alone(new_model: NewModel) -> None:
    model = new_model()
    first, second = random_ids(9), random_ids(2, 12)[1]
    ids = np.concatenate([first, second])[None]
    segments = np.repeat([0, 1], [9, 11])[None].astype(np.int32)
    mask = np.ones((1, 20), bool)
    mask[0, 8] = False  # the last token of one example does not predict the next one's first
    packed = next_token_loss(model, Batch(ids, mask, segments), CPU)
    alone = sum(
        next_token_loss(model, Batch(part[None], None, None), CPU) for part in (first, second)
    )
    torch.testing.assert_close(packed, alone, rtol=1e-6, atol=1e-5)
