"""Settings of the model that is trained: those of ``ModelConfig``, as a recipe gives them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ingot.errors import RecipeError
from ingot.model.config import ModelConfig
from ingot.model.rope import RopeConfig, RopeType
from ingot.model.variants import (
    Activation,
    AttentionBias,
    Norm,
    NormPlacement,
    PositionEmbedding,
    QkNorm,
)

_Layers = Annotated[tuple[int, ...], Field(max_length=512)]
_Pairs = Annotated[tuple[float, ...], Field(max_length=512)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RopeScaling(_Section):
    """Scaling of rotary embedding to longer contexts; meanings and ranges are ``RopeConfig``'s."""

    rope_type: RopeType = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int | None = None
    attention_factor: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    short_factor: _Pairs = ()
    long_factor: _Pairs = ()


class LocalRope(RopeScaling):
    """Rotary embedding of layers with a sliding window."""

    rope_theta: float = 10_000.0


class ModelRecipe(_Section):
    """Sizes of the model; the vocabulary comes with the corpus or the ingot.

    A run that starts from an ingot takes all of them from it.
    """

    vocab_size: int | None = Field(None, ge=257, le=1 << 24)
    """Rows of the embedding; unset: one for each token. More are padding, which is never
    predicted."""

    hidden_size: int = Field(256, ge=8, le=65_536)
    """Width of the residual stream."""
    intermediate_size: int = Field(704, ge=8, le=1 << 20)
    """Width of the feed-forward layers."""
    num_hidden_layers: int = Field(4, ge=1, le=512)
    """Transformer blocks."""
    num_attention_heads: int = Field(4, ge=1, le=1024)
    """Query heads of each block."""
    num_key_value_heads: int = Field(2, ge=1, le=1024)
    """Key and value heads of each block; it divides the number of query heads."""
    head_dim: int = Field(64, ge=2, le=1024)
    """Width of a head; an even number."""
    max_position_embeddings: int | None = Field(None, ge=1, le=1 << 24)
    """Longest context of the model; unset: `batch.context`, and never less than it."""
    rope_theta: float = Field(10_000.0, gt=1)
    """Base of the rotary position embedding."""
    rope_scaling: RopeScaling | None = None
    """Scaling of rotary embedding to longer contexts, by Hugging Face's names."""
    rms_norm_eps: float = Field(1e-6, ge=1e-12, lt=1)
    """Added to the mean square, or to the variance, before the root in every norm."""
    tie_word_embeddings: bool = False
    """Use the embedding as the output head too."""
    sliding_window: int | None = Field(None, ge=1, le=1 << 20)
    """Tokens that each token attends to, itself included; unset attends to all."""
    full_attention_layers: _Layers = ()
    """Layers, in ascending order, that attend to all though there is a sliding window."""
    local_rope: LocalRope | None = None
    """Rotary embedding of layers with a sliding window; unset: as in the others."""
    partial_rotary_factor: float = Field(1.0, gt=0, le=1)
    """Fraction of each head's dimensions that are rotated."""
    no_rope_layers: _Layers = ()
    """Layers, in ascending order, whose queries and keys are not rotated."""
    position_embedding: PositionEmbedding = "rotary"
    """Rotated queries and keys, or a learned vector for each position."""
    qk_norm: QkNorm = "head"
    """RMSNorm of queries and keys: each head alone, all heads as one, or none."""
    attention_bias: AttentionBias = "none"
    """Which projections of attention have a bias."""
    mlp_bias: bool = False
    """Give the projections of the feed-forward layer biases."""
    norm: Norm = "rms"
    """RMSNorm, or LayerNorm with weight and bias."""
    norm_placement: NormPlacement = "pre"
    """Norm before attention and feed-forward layer, after each, or both."""
    activation: Activation = "silu"
    """Activation of the feed-forward layer."""
    gated_mlp: bool = True
    """Multiply the activated gate by a second projection."""

    def config(self, tokens: int, context: int) -> ModelConfig:
        """Return the model's full configuration.

        Args:
            tokens: Tokens of the tokenizer.
            context: Tokens in one sequence.

        Raises:
            RecipeError: the embedding has fewer rows than there are tokens, the model's context
                is shorter than a sequence, or two settings contradict each other.
        """
        rows = tokens if self.vocab_size is None else self.vocab_size
        if rows < tokens:
            raise RecipeError(
                f"is {rows}, and the tokenizer has {tokens} tokens",
                where="model.vocab_size",
                fix=f"give at least {tokens}, or leave it out",
            )
        positions = (
            context if self.max_position_embeddings is None else self.max_position_embeddings
        )
        if positions < context:
            raise RecipeError(
                f"is {context}, and the model's longest context is {positions}",
                where="batch.context",
                fix=f"give at most {positions}",
            )
        values = self.model_dump(exclude={"rope_theta", "rope_scaling", "local_rope"})
        values |= {"vocab_size": rows, "max_position_embeddings": positions}
        scaling = self.rope_scaling or RopeScaling()
        rope = RopeConfig(rope_theta=self.rope_theta, **scaling.model_dump())
        local = None if self.local_rope is None else RopeConfig(**self.local_rope.model_dump())
        return ModelConfig(**values, rope=rope, local_rope=local)


def model_table(config: ModelConfig) -> dict[str, Any]:
    """Return the recipe's table of a model that exists."""
    table = asdict(config)
    rope = table.pop("rope")
    table["rope_theta"] = rope.pop("rope_theta")
    table["rope_scaling"] = None if config.rope.rope_type == "default" else rope
    return table
