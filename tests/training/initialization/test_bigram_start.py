from __future__ import annotations

import itertools

import torch
from torch.nn import functional

from ingot.corpus import Corpus
from ingot.model import ModelConfig
from ingot.model.transformer import Transformer
from ingot.training.initialization.bigram_start import count_bigrams, fit_bigrams


def fresh(vocab_size: int) -> Transformer:
    config = ModelConfig(
        vocab_size=vocab_size,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    model = Transformer(config)
    model.initialise(torch.Generator().manual_seed(0))
    return model


def test_counts_are_those_of_a_plain_loop(corpus: Corpus) -> None:
    ids = corpus.train.read(0, len(corpus.train)).tolist()
    expected = torch.zeros(384, 384)
    for first, second in itertools.pairwise(ids):
        expected[first, second] += 1
    assert torch.equal(count_bigrams(corpus.train, 384), expected)


def test_the_model_begins_with_the_loss_of_its_bigrams(corpus: Corpus) -> None:
    model = fresh(384)
    claimed = fit_bigrams(model, corpus.train)
    ids = torch.from_numpy(corpus.train.read(0, len(corpus.train)))
    used = (len(ids) - 1) // 64 * 64
    inputs, targets = ids[:used].view(-1, 64), ids[1 : used + 1].view(-1, 64)
    with torch.inference_mode():  # the network itself, over the text itself
        losses = [
            functional.cross_entropy(
                model.logits(model(some)).flatten(0, 1), following.flatten(), reduction="sum"
            )
            for some, following in zip(inputs.split(64), targets.split(64), strict=True)
        ]
    measured = sum(losses).item() / used
    assert abs(measured - claimed) < 0.05
    unigram = torch.bincount(ids, minlength=384).float()
    unigram_loss = -(unigram / unigram.sum() * (unigram / unigram.sum()).clamp(1e-9).log()).sum()
    assert claimed < 0.75 * unigram_loss.item()


def test_it_is_deterministic(corpus: Corpus) -> None:
    one, other = fresh(384), fresh(384)
    assert fit_bigrams(one, corpus.train) == fit_bigrams(other, corpus.train)
    assert torch.equal(one.head_weight, other.head_weight)
