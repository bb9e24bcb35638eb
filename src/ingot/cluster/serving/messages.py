"""What the HTTP application and the engines' replicas say to each other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import NamedTuple

from ingot.inference import EngineConfig, OutputDelta, RequestOptions, SamplingParams
from ingot.inference.config import Weights

_SURROGATES = 0xD800, 0x800
"""First surrogate code point, and how many there are."""
_MARK = 4
"""Characters that tell whose prefix it is."""


@dataclass(frozen=True)
class EngineSpec:
    """What every replica of one model's engine is made of."""

    path: str
    """The ingot, by a path that is the same on every machine."""
    digest: str
    """Digest that the ingot must have."""
    engine: EngineConfig
    executor: str = "auto"
    weights: Weights = "stored"
    signed_by: tuple[str, ...] = ()
    """PEM files of public keys, of which one must have signed the ingot."""


@dataclass(frozen=True)
class EngineDescription:
    """What the HTTP application must know of an engine to check requests before they are sent."""

    digest: str
    max_context: int
    features: frozenset[str]
    cache_blocks: int
    block_size: int


@dataclass(frozen=True)
class EngineRequest:
    """A sequence for a replica: its beginning, or its continuation after ``written``."""

    prompt: str
    """The prompt as Ray's router compares it; see ``routing_text``."""
    prompt_ids: tuple[int, ...]
    params: SamplingParams | None
    """Without the grammar; None asks for an embedding."""
    options: RequestOptions
    grammar: bytes | None
    """The grammar in the library's form, compiled before."""
    written: tuple[int, ...] = ()
    """Tokens of the answer that were delivered already."""


class EngineOutput(NamedTuple):
    """Output of a sequence, and the engine's seconds for it so far."""

    delta: OutputDelta
    prompt_compute_s: float
    answer_compute_s: float


def routing_text(prompt_ids: Seq[int], options: RequestOptions) -> str:
    """Return a text whose prefixes are shared where prompts share cached prefixes.

    Ray's router compares texts: here each token is one character. The first ones tell the API key
    and the salt apart, which share no prefixes.
    """
    first, count = _SURROGATES
    owner = f"{options.tenant}\n{options.cache_salt}".encode()
    mark = hashlib.sha256(owner).hexdigest()[:_MARK]
    return mark + "".join(chr(one if one < first else one + count) for one in prompt_ids)
