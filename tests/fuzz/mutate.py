"""Mutations of bytes and of JSON values, driven by random numbers."""

from __future__ import annotations

import json
from random import Random
from typing import Any

_NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, 1 << 63)


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


class Raw(str):
    """JSON text that is written as it stands, valid or not."""


def hostile_value(random: Random) -> Any:
    """Return a value of a kind that readers of JSON forget."""
    size = random.choice((1, 40, 1000, 50_000))
    return random.choice(
        (
            None,
            True,
            -1,
            1.5,
            random.choice(_NUMBERS),
            -random.choice(_NUMBERS),
            "",
            "\x00",
            "a" * size,
            "☃" * size,
            Raw('"\\ud800"'),
            Raw("9" * random.choice((40, 400, 5000))),
            Raw("-" + "9" * 400),
            Raw("1" + "0" * 30),
            Raw("1e999"),
            Raw("-0"),
            Raw("1e-400"),
            Raw("NaN"),
            Raw("-Infinity"),
            Raw("[" * size),
            Raw("[" * size + "]" * size),
            Raw('{"a":' * size + "1" + "}" * size),
            Raw("{" + ",".join('"a":1' for _ in range(size)) + "}"),
            [],
            {},
            [0] * size,
            {str(number): number for number in range(size % 5000)},
        )
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
    if isinstance(value, Raw):
        return value.encode()
    if isinstance(value, dict):
        pairs = (json.dumps(str(key)).encode() + b":" + dump(item) for key, item in value.items())
        return b"{" + b",".join(pairs) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(dump, value)) + b"]"
    return json.dumps(value, ensure_ascii=False).encode()


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
