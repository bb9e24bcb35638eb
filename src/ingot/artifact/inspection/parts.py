"""Which part of a model a tensor belongs to, by its name."""

from __future__ import annotations

import re
from typing import Literal, get_args

Part = Literal["embedding", "attention", "feed-forward", "norms", "output head", "other"]
PARTS: tuple[Part, ...] = get_args(Part)
"""In the order in which a token meets them, norms apart."""

_LAYER = re.compile(r"\.layers\.([0-9]+)\.")


def part_of(name: str) -> Part:
    """Return the part of the model that a tensor or fused matrix is of."""
    if "norm" in name:
        return "norms"
    if "self_attn." in name:
        return "attention"
    if "mlp." in name:
        return "feed-forward"
    if name.startswith("lm_head"):
        return "output head"
    return "embedding" if "embed" in name else "other"


def layer_of(name: str) -> int | None:
    """Return the layer that a tensor is in, counted from 0; None outside the layers."""
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def kind_of(name: str) -> str:
    """Return what a stored tensor does, whatever its layer: ``mlp.down_proj``."""
    kind = _LAYER.sub(".", name).removeprefix("model.")
    for ending in (".weight", ".tiles", ".scales"):
        kind = kind.removesuffix(ending)
    return kind
