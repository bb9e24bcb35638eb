"""``generation_config.json``: how a model's makers would sample it, and what ends its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ingot.errors import ArtifactError, from_validation
from ingot.model.sampling_ranges import MinP, ProbabilityMass, RepetitionPenalty, Temperature, TopK
from ingot.model.tokenizer import Tokenizer
from ingot.strict_json import parse_object

GENERATION_CONFIG = "generation_config.json"


class GenerationDefaults(BaseModel):
    """Sampling settings that apply where a request gives none; None: the engine's own default."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    temperature: Temperature | None = None
    top_p: ProbabilityMass | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    typical_p: ProbabilityMass | None = None
    repetition_penalty: RepetitionPenalty | None = None

    @classmethod
    def parse(cls, data: bytes, *, where: object = GENERATION_CONFIG) -> GenerationDefaults:
        """Read them from a ``generation_config.json``.

        Its other keys say how transformers itself generates (beams, caches, lengths) and are not
        the model's; an unsampled configuration (``do_sample`` false) keeps its numbers, as under
        vLLM.

        Raises:
            ArtifactError: it is not a JSON object, or a value is out of its range.
        """
        given = parse_object(data, where=where)
        known = {
            name: _number(name, given[name])
            for name in cls.model_fields
            if given.get(name) is not None
        }
        try:
            return cls.model_validate(known)
        except ValidationError as error:
            raise from_validation(
                ArtifactError, error, where=where, what="cannot be followed", fix="correct it"
            ) from error

    def sampling(self) -> dict[str, Any]:
        """Return those that are given, by their names in ``SamplingParams``."""
        return self.model_dump(exclude_none=True)


def generation_config(defaults: GenerationDefaults, tokenizer: Tokenizer) -> bytes:
    """Return the ``generation_config.json`` of an ingot."""
    end = tokenizer.eos_id
    others = sorted(tokenizer.stop_ids - {end})
    config: Mapping[str, Any] = {
        "bos_token_id": end if tokenizer.bos_id is None else tokenizer.bos_id,
        "eos_token_id": [end, *others] if others else end,
        "pad_token_id": end,
        "do_sample": True,
        **defaults.sampling(),
    }
    return json.dumps(config, indent=2).encode() + b"\n"


def _number(name: str, value: Any) -> Any:
    """Return a value as the ranges here have it: whole numbers whole, no limit of tokens 0."""
    if name == "top_k" and value == -1:
        return 0
    whole = name == "top_k" and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value
