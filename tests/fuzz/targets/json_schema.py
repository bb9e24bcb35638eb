"""JSON schemas of requests: ``prepare_schema``, without the library that compiles them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from ingot.inference.request.json_schema import keywords as kw
from ingot.inference.request.json_schema.prepare import prepare_schema
from tests.fuzz.mutate import dump, hostile_value, mutate_bytes, mutate_json

CORPUS = Path(__file__).parents[2] / "inference/request/json_schema/zod_schemas.json"
_SCHEMAS = list(json.loads(CORPUS.read_text()).values())
_KEYWORDS = sorted(kw.ENFORCED | kw.IDENTIFIERS | kw.REWRITTEN | kw.UNENFORCEABLE)
_LIMIT = 64 << 10  # longer texts are refused before


def examples() -> Sequence[bytes]:
    return [dump(_SCHEMAS[0]), dump(_SCHEMAS[-1])]


def make(random: Random) -> bytes:
    schema = random.choice(_SCHEMAS)
    kind = random.randrange(5)
    if kind == 0:
        data = mutate_bytes(random, dump(schema))
    elif kind == 1:
        data = dump(mutate_json(random, schema))
    else:
        data = dump(random_schema(random, 0))
    return data[:_LIMIT]


def random_schema(random: Random, depth: int) -> Any:
    """Return a schema of random keywords; a few of their values are hostile."""
    if depth > 4 or random.random() < 0.1:
        return random.choice((True, False, {}, {"type": "string"}, {"$ref": "#"}))
    return {
        keyword: _value(random, keyword, depth)
        for keyword in random.sample(_KEYWORDS, random.randint(1, 4))
    }


def _value(random: Random, keyword: str, depth: int) -> Any:
    if random.random() < 0.05:
        return hostile_value(random)
    if keyword in kw.SCHEMA_MAPS | {"dependentSchemas"}:
        return {random.choice("abc$/~"): random_schema(random, depth + 1) for _ in range(2)}
    if keyword in kw.SCHEMA_LISTS:
        return [random_schema(random, depth + 1) for _ in range(random.randint(0, 3))]
    if keyword in kw.COUNTS:
        return random.choice((0, 1, 2, 3, 1000, 10**9, -1, 2.0))
    if keyword in kw.BOUNDS | {"multipleOf", "const"}:
        bases = (0, 1, -1, 0.1, 2**31, 2**53, -(2**63), 2**64, 1e300, 1e-300)
        return random.choice(bases) + random.choice((0, 0, 1, -1, 512))
    simple: dict[str, tuple[Any, ...]] = {
        "enum": ([1, "a"], ["a", "b", None], [], [[1], {"a": 1}]),
        "type": ("object", "array", "string", "integer", ["null", "number"], "bogus"),
        "required": (["a"], ["a", "b"], [1]),
        "pattern": ("^a", "(?=a)b", "^(?=.*[0-9]).{3}$", "(a{99}){99}", "(", "^(?=((", "[)]"),
        "format": ("email", "date", "color"),
        "$ref": ("#", "#/$defs/a", "#/properties/a", "#/~1", "#x", "http://a/b", ""),
        "uniqueItems": (True, False),
        "$schema": ("http://json-schema.org/draft-07/schema#", "x"),
        "$id": ("http://a/b", "#"),
        "$anchor": ("x",),
    }
    if keyword in simple:
        return random.choice(simple[keyword])
    return random_schema(random, depth + 1)


def attempt(data: bytes) -> None:
    prepare_schema(data.decode(errors="replace"))
