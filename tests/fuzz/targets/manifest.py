"""``ingot.json`` and ``config.json``: parsed, and written again as the page's JSON."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from random import Random
from typing import Any

import orjson

from ingot.artifact import FileRecord, Manifest, Provenance, TensorRecord
from ingot.model import ModelConfig
from ingot.model.config_json import from_json, to_json
from ingot.strict_json import parse_object
from tests.fuzz.mutate import dump, hostile_value, mutate_bytes, mutate_json

_CONFIG = ModelConfig(300, 32, 48, 2, 4, 2, 8, 64, sliding_window=16)
_NAMES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


@functools.cache
def examples() -> Sequence[bytes]:
    digest = "a" * 64
    manifest = Manifest.seal(
        architecture="Qwen3ForCausalLM",
        dtype="bfloat16",
        tensors={
            name: TensorRecord(dtype="BF16", shape=shape, sha256=digest)
            for name, shape in _CONFIG.tensor_shapes().items()
        },
        files={
            name: FileRecord(bytes=10, sha256=digest) for name in (*_NAMES, "model.safetensors")
        },
        provenance=Provenance(
            recipe={"run": {"seed": 1}},
            seed=1,
            tokens=5,
            flops=1e9,
            training_curve=((1, 3.5), (2, 3.25)),
        ),
    )
    return [manifest.to_json(), dump(to_json(_CONFIG, eos_token_id=0, dtype="bfloat16"))]


def make(random: Random) -> bytes:
    manifest, config = examples()
    kind = random.randrange(4)
    if kind == 0:
        return mutate_bytes(random, random.choice((manifest, config)))
    if kind == 1:
        return dump(mutate_json(random, json.loads(config), most=2))
    content: dict[str, Any] = json.loads(manifest)
    if kind == 2:
        content["provenance"][random.choice(sorted(content["provenance"]))] = hostile_value(random)
    else:
        content = mutate_json(random, content, most=2)
    return _sealed(content)


def _sealed(content: Any) -> bytes:
    """Return a manifest with the digest that its content has, where it has one at all."""
    try:
        content = json.loads(dump(content))
        content.pop("digest", None)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        content["digest"] = hashlib.sha256(canonical.encode()).hexdigest()
        return json.dumps(content, sort_keys=True, indent=1).encode() + b"\n"
    except (ValueError, AttributeError, TypeError, RecursionError):
        return dump(content)


def attempt(data: bytes) -> None:
    if b'"architectures"' in data:
        config = from_json(parse_object(data, where="config.json"))
        orjson.dumps(vars(config))
        config.training_flops(config.max_position_embeddings)
    else:
        manifest = Manifest.parse(data, where="ingot.json")
        orjson.dumps(manifest.model_dump(mode="json"))
