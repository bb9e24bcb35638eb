from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ingot.corpus import Corpus, Sampler
from ingot.model.transformer import Transformer
from ingot.training.objectives.pretraining import Pretraining

CPU = torch.device("cpu")


def sampler_of(corpus: Corpus, batch: int = 4) -> Sampler:
    return Sampler(corpus.train, context=32, batch=batch, seed=9)


def test_batches_are_the_samplers_sequences(corpus: Corpus) -> None:
    objective, sampler = Pretraining(sampler_of(corpus), eos_id=None), sampler_of(corpus)
    for _ in range(5):
        batch = objective.next_batch()
        np.testing.assert_array_equal(batch.ids, sampler.next_batch())
        assert batch.segments is None
        assert batch.weight == 4 * 32
    assert objective.epoch == sampler.epoch > 0


def test_it_continues_where_its_state_was_taken(corpus: Corpus) -> None:
    objective = Pretraining(sampler_of(corpus), eos_id=None)
    objective.next_batch()
    state, expected = objective.state(), objective.next_batch().ids
    again = Pretraining(sampler_of(corpus), eos_id=None)
    again.restore(state)
    np.testing.assert_array_equal(again.next_batch().ids, expected)


def test_documents_are_segments(corpus: Corpus) -> None:
    eos = corpus.tokenizer.eos_id
    objective = Pretraining(sampler_of(corpus, 64), eos_id=eos)
    found = 0
    for batch in (objective.next_batch() for _ in range(6)):
        assert batch.segments is not None
        before, after = batch.segments[:, :-1], batch.segments[:, 1:]
        np.testing.assert_array_equal(before != after, batch.ids[:, :-2] == eos)
        found += int((before != after).sum())
    assert found > 0


def test_a_small_model_learns(corpus: Corpus, new_model: Callable[..., Transformer]) -> None:
    model = new_model(vocab_size=corpus.tokenizer.vocab_size)
    objective = Pretraining(sampler_of(corpus, 8), eos_id=corpus.tokenizer.eos_id)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        batch = objective.next_batch()
        loss = objective.loss(model, batch, CPU) / batch.weight
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < losses[0] - 1
