from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ingot.corpus import Corpus
from ingot.model import ModelConfig
from ingot.model.attend import causal_attention
from ingot.model.transformer import Transformer
from ingot.training.initialization.bigram_start import fit_bigrams
from ingot.training.initialization.induction_start import lay_induction

CONTEXT = 128


def fresh(layers: int = 2, heads: int = 2) -> Transformer:
    config = ModelConfig(
        vocab_size=384,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
    )
    model = Transformer(config)
    model.initialise(torch.Generator().manual_seed(0))
    return model


def attention_of(model: Transformer, ids: Tensor) -> dict[int, Tensor]:
    """The first head's attention (T, T) in each layer."""
    seen: dict[int, Tensor] = {}

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q[0, :, 0] @ k[0, :, 0].T / q.shape[-1] ** 0.5
        later = torch.ones_like(scores, dtype=torch.bool).triu(1)
        seen[layer] = scores.masked_fill(later, -torch.inf).softmax(-1)
        return causal_attention(layer, q, k, v)

    with torch.inference_mode():
        model(ids[None], None, attend)
    return seen


def test_the_heads_look_where_they_should(corpus: Corpus) -> None:
    for heads in (2, 4):
        model = fresh(heads=heads)
        reserved = lay_induction(model, torch.Generator().manual_seed(1))
        fit_bigrams(model, corpus.train, reserved=reserved)
        ids = torch.from_numpy(corpus.train.read(1000, CONTEXT))
        attention = attention_of(model, ids)
        assert attention[0].diagonal(-1)[8:].mean() > 0.9  # one position back
        match = torch.zeros(CONTEXT, CONTEXT)
        match[:, 1:] = (ids[:, None] == ids[None, :-1]).tril(-1).float()
        found = match.sum(-1) > 0
        on_matches = (attention[1] * match).sum(-1)[found]
        by_chance = (match.sum(-1) / torch.arange(1, CONTEXT + 1))[found]
        assert found.sum() > 50
        assert on_matches.mean() > 0.4
        assert on_matches.mean() > 5 * by_chance.mean()


def test_the_bigram_model_is_still_there(corpus: Corpus) -> None:
    model = fresh()
    reserved = lay_induction(model, torch.Generator().manual_seed(1))
    claimed = fit_bigrams(model, corpus.train, reserved=reserved)
    assert not model.head_weight[:, :reserved].any()
    ids = torch.from_numpy(corpus.train.read(0, CONTEXT + 1))
    with torch.inference_mode():
        loss = functional.cross_entropy(model.logits(model(ids[None, :-1]))[0], ids[1:])
    assert abs(loss.item() - claimed) < 0.8  # one window against the whole corpus


def test_a_model_without_room_is_left_alone() -> None:
    model = fresh(layers=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert lay_induction(model, torch.Generator().manual_seed(1)) == 0
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
