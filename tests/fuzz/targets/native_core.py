"""Calls of the C++ core, whose fields, arrays and numbers are hostile.

An input is the seed of one call. ``scripts/core_test.sh address`` runs this target on a core that
is built with the address and undefined-behaviour sanitizers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np

if "INGOT_EMULATED" in os.environ:  # before the core is imported
    import tests.native.emulated  # noqa: F401

from ingot import native
from ingot.errors import UsageError

VOCABULARY, HIDDEN, CONTEXT, BLOCKS = 40, 16, 96, 8
_NUMBERS = (0, 1, -1, 7, 31, 32, 33, 2**26, 2**26 + 1, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1)
_NUMBERS += (2**63, 2**64 - 1, 2**64, -(2**31), -(2**63), 10**40)
_FLOATS = (0.0, -0.0, 1.0, 0.5, -1.0, 5e-324, 1e-308, 3.4e38, 1e39, 1e308, 1e-45)
_FLOATS += (float("nan"), float("inf"), float("-inf"))
_FORMATS = ("bf16", "int8", "int4")


def examples() -> Sequence[bytes]:
    return [b"plain"]


def make(random: Random) -> bytes:
    return random.randbytes(8)


def attempt(data: bytes) -> None:
    random = Random(data)
    hostile = 0.0 if data == b"plain" else random.choice((0.002, 0.01, 0.08))
    call = random.choices((step, build, matrix, measure), (20, 5, 5, 1))[0] if hostile else step
    try:
        call(Fields(random, hostile))
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise UsageError(str(error).splitlines()[0][:200] if str(error) else "refused") from error


class Fields:
    """Draws values, some of them of a kind that was not asked for."""

    def __init__(self, random: Random, hostile: float) -> None:
        self.random, self.hostile = random, hostile

    def __call__(self, usual: Callable[[], Any]) -> Any:
        return self.anything() if self.random.random() < self.hostile else usual()

    def integer(self, low: int, high: int) -> Any:
        return self(lambda: self.random.randint(low, high))

    def number(self, *usual: float) -> Any:
        return self(lambda: self.random.choice(usual))

    def anything(self) -> Any:
        random = self.random
        kinds = (
            lambda: random.choice(_NUMBERS),
            lambda: random.choice(_FLOATS),
            lambda: random.choice((None, True, "", "bf16", "int4", b"\0", [], [None], {}, object)),
            lambda: [random.choice(_NUMBERS) for _ in range(random.randrange(40))],
            lambda: self.array(np.dtype(random.choice("bBhHiIlLfdO?"))),
            lambda: float(np.uint64(random.getrandbits(64)).view(np.float64)),
        )
        return random.choice(kinds)()

    def array(self, dtype: np.dtype[Any], length: int | None = None) -> Any:
        """Return an array of some values, at times unaligned, strided, swapped or read-only."""
        random = self.random
        count = random.choice((0, 1, 2, 5, 16, 100)) if length is None else length
        if dtype.kind == "f":
            values = np.array([random.choice(_FLOATS) for _ in range(count)]).astype(dtype)
        else:
            values = np.array([random.choice(_NUMBERS[:8]) for _ in range(count)]).astype(dtype)
        if dtype.kind == "O" or random.random() > self.hostile:
            return values
        kind = random.randrange(5)
        if kind == 0 and dtype.itemsize > 1:
            raw = np.zeros(values.nbytes + 1, np.uint8)
            raw[1:] = values.view(np.uint8)
            return raw[1:].view(dtype)
        if kind == 1:
            return np.repeat(values, 2)[::2]
        if kind == 2:
            return values.astype(dtype.newbyteorder())
        if kind == 3:
            return values.reshape(1, -1)
        values.flags.writeable = False
        return values


@cache
def model() -> native.Model:
    """A model that many inputs run, so that one may leave what harms the next."""
    return native.Model(**_parts(Fields(Random(0), 0.0)), threads=2)


def step(fields: Fields) -> None:
    inputs = [_model_input(fields) for _ in range(fields.random.randint(1, 5))]
    act = model().logits if fields.random.random() < 0.1 else model().step
    output = act(inputs)
    if isinstance(output, np.ndarray):
        return
    failed = {failure.input for failure in output.failures}
    rows = [
        number
        for number, each in enumerate(inputs)
        for _ in range(len(each.verify_rows) + (each.sampling is not None))
    ]
    assert len(rows) == len(output.sampled)
    for number, sampled in zip(rows, output.sampled, strict=True):
        assert number in failed or 0 <= sampled.token_id < VOCABULARY - 2, sampled.token_id
        assert all(0 <= token < VOCABULARY - 2 for token, _ in sampled.top)


def _model_input(fields: Fields) -> SimpleNamespace:
    random = fields.random
    count = random.choice((1, 1, 1, 2, 17, 60))
    start = random.choice((0, 0, 1, 15, 16, CONTEXT - count))
    hidden = random.random() < 0.1
    earlier = 0 if hidden else random.randint(0, min(count - 1, 3))
    blocks = -(-(start + count) // 16)
    return SimpleNamespace(
        token_ids=fields(lambda: [fields.integer(0, VOCABULARY - 1) for _ in range(count)]),
        start=fields(lambda: start),
        block_table=fields(lambda: [fields.integer(0, BLOCKS - 1) for _ in range(blocks)]),
        sampling=None if hidden else _row(fields),
        verify_rows=tuple(_row(fields) for _ in range(earlier)),
        hidden=fields(lambda: hidden),
    )


def _row(fields: Fields) -> SimpleNamespace:
    random = fields.random
    params = SimpleNamespace(
        temperature=fields.number(0.0, 0.0, 1.0, 0.7, 5e-324, 1e6),
        top_p=fields.number(1.0, 0.9, 5e-324),
        min_p=fields.number(0.0, 0.05, 1.0),
        typical_p=fields.number(1.0, 0.9, 5e-324),
        top_k=fields.integer(0, 5),
        logprobs=fields(lambda: random.choice((None, 0, 5, 100))),
    )
    return SimpleNamespace(
        params=params,
        seed=fields.integer(0, 2**64 - 1),
        position=fields.integer(0, 1000),
        forced_token=fields(lambda: random.choice((None, None, 3))),
        adjustment=fields(lambda: random.choice((None, _adjustment(fields)))),
        mask=fields(
            lambda: random.choice(
                (None, np.array([random.getrandbits(32), random.getrandbits(32)], np.uint32))
            )
        ),
    )


def _adjustment(fields: Fields) -> SimpleNamespace:
    random, count = fields.random, fields.random.randint(0, 6)
    ids = np.array([random.randrange(VOCABULARY - 2) for _ in range(count)], np.int32)
    factors = np.array([random.choice((1.0, 0.1, 10.0, 1e-300, 1e300)) for _ in range(count)])
    shifts = np.array([random.choice((0.0, -2.0, 1e300, -1e300)) for _ in range(count)])
    spoil = random.random() < fields.hostile
    return SimpleNamespace(
        ids=fields(lambda: ids),
        factors=fields.array(np.dtype("d"), count) if spoil else fields(lambda: factors),
        shifts=fields(lambda: shifts),
    )


def build(fields: Fields) -> None:
    made = native.Model(
        **_parts(fields),
        kernels=fields(lambda: fields.random.choice(native.kernels())),
        threads=fields(lambda: fields.random.randint(0, 3)),
        pinned=fields(lambda: False),
    )
    made.yield_cpu(True)
    made.step([_model_input(Fields(fields.random, 0.0))])
    made.close()


def _parts(fields: Fields) -> dict[str, Any]:
    random = fields.random
    family = random.choice(("qwen", "olmo", "gemma", "gpt"))

    def vector(width: int) -> Any:
        return fields(lambda: np.ones(width, np.float32))

    def norm(exists: bool = True) -> Any:
        bias = vector(HIDDEN) if family == "gpt" else fields(lambda: None)
        return fields(lambda: native.Norm(vector(HIDDEN), bias) if exists else None)

    def layer() -> native.LayerWeights:
        biased = {
            name: vector(width)
            for name, width in (("query_bias", 16), ("key_bias", 8), ("value_bias", 8))
            if family == "gpt"
        }
        if family != "gpt":
            wide = family == "olmo"
            biased |= {"query_norm": vector(16 if wide else 8), "key_norm": vector(8)}
        return native.LayerWeights(
            qkv=_matrix(fields, 32, HIDDEN),
            output=_matrix(fields, HIDDEN, 16),
            gate_up=_matrix(fields, 12 if family == "gpt" else 24, HIDDEN),
            down=_matrix(fields, HIDDEN, 12),
            attention_norm=norm(family != "olmo"),
            attention_output_norm=norm(family in ("olmo", "gemma")),
            feed_forward_norm=norm(family != "olmo"),
            feed_forward_output_norm=norm(family in ("olmo", "gemma")),
            **biased,
        )

    def layer_shape() -> native.LayerShape:
        return native.LayerShape(fields.integer(0, 20), fields(lambda: random.choice((-1, 0, 1))))

    embedding = _matrix(fields, VOCABULARY, HIDDEN)
    shape = native.ModelShape(
        hidden=fields(lambda: HIDDEN),
        feed_forward=fields(lambda: 12),
        query_heads=fields(lambda: 2),
        key_heads=fields(lambda: 1),
        head_dim=fields(lambda: 8),
        positions=fields(lambda: CONTEXT),
        norm_eps=fields.number(1e-6),
        sampled_vocabulary=fields(lambda: VOCABULARY - 2),
        rope_tables=fields(
            lambda: [native.RopeTable(vector(half), fields.number(1.0)) for half in (4, 3)]
        ),
        layers=fields(lambda: [layer_shape(), layer_shape()]),
        norm=fields(lambda: "layer" if family == "gpt" else "rms"),
        head_norm=fields(lambda: {"gpt": "none", "olmo": "projection"}.get(family, "head")),
        activation=fields(lambda: random.choice(("silu", "gelu_tanh"))),
        gated=fields(lambda: family != "gpt"),
    )
    positions = _matrix(fields, CONTEXT, HIDDEN) if family == "gpt" else None
    return {
        "shape": shape,
        "weights": native.ModelWeights(
            embedding, embedding, norm(), fields(lambda: [layer(), layer()]), positions
        ),
        "cache": native.CacheShape(
            fields(lambda: fields.random.choice(("bf16", "f32", "int8"))),
            fields(lambda: BLOCKS),
            fields(lambda: 16),
        ),
    }


def _matrix(fields: Fields, outputs: int, inputs: int) -> Any:
    """Return a matrix; its bytes and scales are any."""

    def usual() -> native.Matrix:
        kind = fields.random.choice(_FORMATS)
        size, scales = native.packed_sizes(kind, outputs, inputs, 32)
        tiles = np.frombuffer(fields.random.randbytes(size), np.uint8)
        return native.Matrix(
            weight_format=kind,
            outputs=outputs,
            inputs=inputs,
            group=32,
            tiles=tiles,
            scales=np.full(scales, fields.random.choice((0.01, *_FLOATS)), np.float32),
        )

    return fields(usual)


def matrix(fields: Fields) -> None:
    random = fields.random
    kind = fields(lambda: random.choice(_FORMATS))
    outputs, inputs = random.randint(1, 70), random.randint(1, 150)
    group = fields(lambda: random.choice((32, 64, 128)))
    size, scales = native.packed_sizes(kind, fields(lambda: outputs), fields(lambda: inputs), group)
    if size + 4 * scales > 1 << 20:  # sizes that only another could give memory to
        return
    tiles, factors = np.frombuffer(random.randbytes(size), np.uint8), np.ones(scales, np.float32)
    made = native.Matrix(
        weight_format=kind,
        outputs=outputs,
        inputs=inputs,
        group=group,
        tiles=fields(lambda: tiles),
        scales=fields(lambda: factors),
    )
    rows = random.choice((0, 1, 2, 5, 9))
    x = np.array([random.choice(_FLOATS) for _ in range(rows * inputs)]).astype(np.float32)
    made.multiply(
        fields(lambda: x.reshape(rows, inputs)),
        fields(lambda: random.choice(native.kernels())),
        fields(lambda: random.randint(0, 3)),
    )


def measure(fields: Fields) -> None:
    native.uniform(fields(lambda: 1), fields(lambda: 2))
    heads = fields.random.choice((1, 2))
    native.measure_attend(
        query_heads=fields(lambda: 2 * heads),
        key_heads=fields(lambda: heads),
        head_dim=fields(lambda: 8),
        cache=fields(lambda: "bf16"),
        context=fields.random.choice((1, 40, 0, -1, 2**40)),
        sequences=fields.random.choice((1, 3, 0, -1, 2**40)),
        kernels="",
        threads=fields(lambda: 1),
        repeats=fields.random.choice((1, 0, -1, 2**31 - 1, 2**31)),
    )
