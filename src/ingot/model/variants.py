"""What dense transformers differ in, besides their sizes."""

from __future__ import annotations

from typing import Literal

QkNorm = Literal["head", "projection", "none"]
AttentionBias = Literal["none", "qkv", "all"]
Norm = Literal["rms", "layer"]
NormPlacement = Literal["pre", "post", "both"]
Activation = Literal["silu", "gelu_tanh"]
PositionEmbedding = Literal["rotary", "learned"]
