"""JSON of files: ``strict_json.parse_object``."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ingot.strict_json import parse_object
from tests.fuzz.mutate import Raw, dump, hostile_value, mutate_bytes, mutate_json

_SOUND = {"a": [1, 2.5, "text", None, True], "b": {"c": {"d": [[], {}]}}, "vocab": {"x": 1, "y": 2}}


def examples() -> Sequence[bytes]:
    return [dump(_SOUND)]


def make(random: Random) -> bytes:
    kind = random.randrange(4)
    if kind == 0:
        return mutate_bytes(random, dump(_SOUND))
    if kind == 1:
        return dump({"a": hostile_value(random)})
    if kind == 2:  # keys, many of them equal
        keys = [f'"k{number}":0' for number in range(random.choice((2, 100, 50_000)))]
        again = random.choice(keys)
        return dump(Raw("{" + ",".join([*keys, again]) + "}"))
    return dump(mutate_json(random, _SOUND))


def attempt(data: bytes) -> None:
    parse_object(data, where="some.json")
