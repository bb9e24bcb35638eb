"""Heads that copy, laid down before training.

An induction head (Olsson and others, arXiv:2209.11895) looks for the last position
where the current token stood and reads what followed it. Text, and source code
above all, repeats itself, so this is the first great thing a language model
learns; a small one on a small budget never gets there by itself. Two layers make
one, and the part that is hard to find, where to look, can be written down:

- every token carries a constant and a random code in reserved columns of the
  embedding;
- layer 0 attends one position back and writes the code it finds there into
  further reserved columns: *the token before me*;
- layer 1 compares its own code with every position's *token before me*, and so
  attends to what followed the current token earlier.

What to make of what is read is left to training: the output projection of
layer 1 starts at zero as all others do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from ingot.model.config import ModelConfig
from ingot.model.transformer import Attention, Block, Transformer

_CODE = 24  # columns of a token's code; two random ones then agree by ±0.2
_FAST = 0.13  # radians a position, above which a pair of a head tells neighbours apart
_SLOW = 0.9  # radians over the whole context, below which a pair ignores position
_POSITION_GAIN = 3.0  # sharpness of looking one back
_MATCH_GAIN = 1.3  # sharpness of the comparison of codes
_SCALE = 3.0  # size of the written projections, so that early updates do not wash them away


@dataclass(frozen=True)
class _Layout:
    """Which columns and which dimensions of a head are used."""

    code: int
    fast: int
    """Pairs of a head, from the first on, that turn fast."""
    slow: Tensor
    """Dimensions of a head whose pairs turn slowly; as many as the code has columns."""
    frequencies: Tensor

    @property
    def own(self) -> slice:
        return slice(1, 1 + self.code)

    @property
    def previous(self) -> slice:
        return slice(1 + self.code, 1 + 2 * self.code)


@torch.no_grad()
def lay_induction(model: Transformer, generator: torch.Generator) -> int:
    """Write the two heads into a fresh model.

    Returns:
        How many leading columns of the embedding are taken; 0 if the model is too
        small, and nothing was written.
    """
    layout = _layout(model.config)
    if layout is None:
        return 0
    embedding = model.model.embed_tokens.weight
    signs = torch.randint(2, (len(embedding), layout.code), generator=generator) * 2.0 - 1.0
    embedding[:, 0] = 1.0
    embedding[:, layout.own] = signs.to(embedding)
    embedding[:, layout.previous] = 0.0
    first, second = (cast(Block, model.model.layers[layer]).self_attn for layer in (0, 1))
    group = model.config.num_attention_heads // model.config.num_key_value_heads
    _look_one_back(first, layout, group)
    _look_for_match(second, layout, group)
    return 1 + 2 * layout.code


def _layout(config: ModelConfig) -> _Layout | None:
    half = config.head_dim // 2
    frequencies = config.rope.rope_theta ** (-torch.arange(half) / half)
    fast = int((frequencies > _FAST).sum())
    slow = int((frequencies * config.max_position_embeddings < _SLOW).sum())
    pairs = min(_CODE // 2, slow, config.hidden_size // 10)
    if config.num_hidden_layers < 2 or pairs < 2:
        return None
    last = torch.arange(half - pairs, half)
    return _Layout(2 * pairs, fast, torch.cat((last, last + half)), frequencies)


def _look_one_back(attention: Attention, layout: _Layout, group: int) -> None:
    """Make the first key head's group attend to the position before.

    Query and key are constants in the fast pairs, the query turned back by one
    position, so that rotary embedding makes the score highest one step away.
    """
    width, half, fast = attention.head_dim, attention.head_dim // 2, layout.fast
    turned = layout.frequencies[:fast]
    query, key = torch.zeros(width), torch.zeros(width)
    key[:fast] = 1.0
    query[:fast], query[half : half + fast] = turned.cos(), -turned.sin()
    for weight, constant in (
        (attention.q_proj.weight[: group * width], query.repeat(group)),
        (attention.k_proj.weight[:width], key),
    ):
        weight.zero_()
        weight[:, 0] = _SCALE * constant.to(weight)
    for norm in ("q_norm", "k_norm"):
        gains = attention.get_parameter(f"{norm}.weight")
        gains[:fast] = gains[half : half + fast] = _POSITION_GAIN
    codes = torch.arange(layout.code)
    attention.v_proj.weight[:width] = 0.0
    attention.v_proj.weight[codes, 1 + codes] = 1.0
    attention.o_proj.weight[1 + layout.code + codes, codes] = 1.0


def _look_for_match(attention: Attention, layout: _Layout, group: int) -> None:
    """Make the first key head's group attend to where the token before is the current one.

    The codes go into the slow pairs, which position hardly turns.
    """
    width = attention.head_dim
    codes = torch.arange(layout.code)
    attention.k_proj.weight[:width] = 0.0
    attention.k_proj.weight[layout.slow, 1 + layout.code + codes] = _SCALE
    for head in range(group):
        attention.q_proj.weight[head * width : (head + 1) * width] = 0.0
        attention.q_proj.weight[head * width + layout.slow, 1 + codes] = _SCALE
    gain = _MATCH_GAIN * math.sqrt(_CODE / layout.code)  # a short code needs a sharper look
    for norm in ("q_norm", "k_norm"):
        attention.get_parameter(f"{norm}.weight").fill_(gain)
