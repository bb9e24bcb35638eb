"""Mutations of bytes and of JSON values, driven by random numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

_NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, 1 << 63)
_STAND_IN = re.compile(r'"\\u0000(\d+)\\u0000"')


def mutate_bytes(random: Random, data: bytes, *, most: int = 4) -> bytes:
    """Return ``data`` with one to ``most`` edits of bytes, blocks or lengths."""
    out = bytearray(data)
    for _ in range(random.randint(1, most)):
        at = random.randint(0, len(out))
        kind = random.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            out[at : at + random.choice((1, 2, 8, 64))] = random.randbytes(random.randrange(9))
        elif kind == 2:
            del out[at : at + random.choice((1, 4, 64, len(out)))]
        elif kind == 3:
            block = out[at : at + random.choice((1, 8, 64, 1024))]
            out[at:at] = block * random.choice((1, 2, 50))
        elif kind == 4:
            width = random.choice((1, 2, 4, 8))
            number = random.choice(_NUMBERS) % (1 << 8 * width)
            out[at : at + width] = number.to_bytes(width, "little")
        else:
            del out[at:]
    return bytes(out)


@dataclass(frozen=True)
class Raw:
    """JSON text that is written as it stands, valid or not."""

    text: str


def hostile_value(random: Random) -> Any:
    """Return a value of a kind that readers of JSON forget."""
    return random.choice(_HOSTILE)(random)


def _size(random: Random) -> int:
    return random.choice((1, 40, 1000, 50_000))


_HOSTILE: tuple[Callable[[Random], Any], ...] = (  # functions: most values are long to make
    lambda _: None,
    lambda _: True,
    lambda _: -1,
    lambda _: 1.5,
    lambda random: random.choice(_NUMBERS),
    lambda random: -random.choice(_NUMBERS),
    lambda _: "",
    lambda _: "\x00",
    lambda random: "a" * _size(random),
    lambda random: "☃" * _size(random),
    lambda _: Raw('"\\ud800"'),
    lambda random: Raw("9" * random.choice((40, 400, 5000))),
    lambda _: Raw("-" + "9" * 400),
    lambda _: Raw("1" + "0" * 30),
    lambda _: Raw("1e999"),
    lambda _: Raw("-0"),
    lambda _: Raw("1e-400"),
    lambda _: Raw("NaN"),
    lambda _: Raw("-Infinity"),
    lambda random: Raw("[" * _size(random)),
    lambda random: Raw("[" * (size := _size(random)) + "]" * size),
    lambda random: Raw('{"a":' * (size := _size(random)) + "1" + "}" * size),
    lambda random: Raw("{" + ",".join(['"a":1'] * _size(random)) + "}"),
    lambda _: [],
    lambda _: {},
    lambda random: [0] * _size(random),
    lambda random: {str(number): number for number in range(_size(random) % 5000)},
)


def mutate_json(random: Random, value: Any, *, most: int = 3) -> Any:
    """Return a deep copy of a JSON value with one to ``most`` of its parts changed."""
    value = json.loads(json.dumps(value))
    for _ in range(random.randint(1, most)):
        parent, key = _somewhere(random, value)
        if parent is None:
            return hostile_value(random)
        kind = random.randrange(5)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[random.choice((key + "x", key.upper(), "", "a" * 300))] = parent[key]
        elif kind == 2 and isinstance(parent, list):
            parent[key:key] = [parent[key]] * random.choice((1, 2, 300))
        elif kind == 3 and isinstance(parent[key], int | float):
            parent[key] = random.choice((0, 1, -1, 2, 3)) * parent[key] + random.randint(-1, 1)
        else:
            parent[key] = hostile_value(random)
    return value


def dump(value: Any) -> bytes:
    """Return JSON text in which ``Raw`` stands as it is."""
    raw: list[str] = []

    def stand_in(part: Raw) -> str:
        raw.append(part.text)
        return f"\x00{len(raw) - 1}\x00"

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=stand_in)
    if raw:
        text = _STAND_IN.sub(lambda found: raw[int(found[1])], text)
    return text.encode()


def _somewhere(random: Random, value: Any) -> tuple[Any, Any]:
    """Return a random place in a JSON value: a container and a key, or None and None."""
    parent: Any = None
    key: Any = None
    while isinstance(value, dict | list) and value:
        if parent is not None and random.random() < 0.3:
            break
        parent = value
        key = (
            random.choice(list(value)) if isinstance(value, dict) else random.randrange(len(value))
        )
        value = value[key]
    return parent, key
