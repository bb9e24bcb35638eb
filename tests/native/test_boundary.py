"""Whatever crosses to the core is run or refused; it never ends the process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.native import (
    CacheShape,
    LayerShape,
    LayerWeights,
    Matrix,
    Model,
    ModelShape,
    ModelWeights,
    Norm,
    RopeTable,
    SampledToken,
    packed_sizes,
)

VOCABULARY, HIDDEN, CONTEXT, BLOCKS = 40, 16, 64, 8
EDGES = (0, 1, -1, 2**31 - 1, 2**31, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**30)
FLOATS = (0.0, -0.0, 1.0, -1.0, 5e-324, 1e-308, 1e308, float("nan"), float("inf"), float("-inf"))
THINGS = (None, "text", b"bytes", 1.5, [], [None], {}, object(), True)

any_integer = st.integers() | st.sampled_from(EDGES)
any_number = st.floats() | st.sampled_from(FLOATS) | any_integer
anything = any_number | st.sampled_from(THINGS)
token = st.integers(0, VOCABULARY - 1)


def matrix(outputs: int, inputs: int) -> Matrix:
    size, scales = packed_sizes("int8", outputs, inputs, 32)
    rng = np.random.default_rng(outputs * inputs)
    return Matrix(
        weight_format="int8",
        outputs=outputs,
        inputs=inputs,
        group=32,
        tiles=rng.integers(0, 256, size, dtype=np.uint8),
        scales=np.full(scales, 0.01, dtype=np.float32),
    )


def parts() -> dict[str, Any]:
    """Arguments of a small model."""
    ones = np.ones(HIDDEN, np.float32)
    layer = LayerWeights(
        qkv=matrix(32, HIDDEN),
        output=matrix(HIDDEN, 16),
        gate_up=matrix(24, HIDDEN),
        down=matrix(HIDDEN, 12),
        attention_norm=Norm(ones),
        feed_forward_norm=Norm(ones),
        query_norm=ones[:8],
        key_norm=ones[:8],
    )
    embedding = matrix(VOCABULARY, HIDDEN)
    shape = ModelShape(
        hidden=HIDDEN,
        feed_forward=12,
        query_heads=2,
        key_heads=1,
        head_dim=8,
        positions=CONTEXT,
        norm_eps=1e-6,
        sampled_vocabulary=VOCABULARY - 2,
        rope_tables=[RopeTable(ones[:4])],
        layers=[LayerShape(), LayerShape(window=9)],
    )
    return {
        "shape": shape,
        "weights": ModelWeights(embedding, embedding, Norm(ones), [layer, layer]),
        "cache": CacheShape("bf16", BLOCKS, 16),
    }


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(**parts(), threads=2)


def row(**changed: Any) -> SimpleNamespace:
    params = {
        "temperature": 0.8,
        "top_p": 1.0,
        "min_p": 0.0,
        "typical_p": 1.0,
        "top_k": 0,
        "logprobs": None,
    }
    own = {"seed": 1, "position": 1, "forced_token": None, "adjustment": None, "mask": None}
    own |= {name: value for name, value in changed.items() if name in own}
    params |= {name: value for name, value in changed.items() if name in params}
    return SimpleNamespace(params=SimpleNamespace(**params), **own)


def model_input(**changed: Any) -> SimpleNamespace:
    fields = {
        "token_ids": [1],
        "start": 0,
        "block_table": [0],
        "sampling": row(),
        "verify_rows": (),
        "hidden": False,
    }
    return SimpleNamespace(**(fields | changed))


def adjustment(ids: Any, factors: Any, shifts: Any) -> SimpleNamespace:
    return SimpleNamespace(
        ids=np.array(ids, np.int32), factors=np.array(factors), shifts=np.array(shifts)
    )


def as_float(value: float) -> float:
    """Return a number as float64, an integer too large for it as infinity."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def run_or_refused(act: Callable[[], Any]) -> Any:
    """Return a result; None where it was refused as it should be."""
    try:
        return act()
    except (TypeError, ValueError, MemoryError):
        return None


def check(model: Model, inputs: list[Any]) -> None:
    """Run inputs; what is sampled exists, and the model works as before afterwards."""
    output = run_or_refused(lambda: model.step(inputs))
    if output is not None:
        failed = {failure.input for failure in output.failures}
        rows = [
            number
            for number, each in enumerate(inputs)
            for _ in (*each.verify_rows, *([each.sampling] if each.sampling else []))
        ]
        assert len(rows) == len(output.sampled)
        for number, sampled in zip(rows, output.sampled, strict=True):
            assert isinstance(sampled, SampledToken)
            assert number in failed or 0 <= sampled.token_id < VOCABULARY - 2
    [sampled] = model.step([model_input(sampling=row(temperature=0.0))]).sampled
    assert sampled.token_id >= 0


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_value_in_any_field_of_a_step(model: Model, data: st.DataObject) -> None:
    """FAULTS B7: NaN and infinite penalties, and every other number and object."""
    in_row = ("temperature", "top_p", "min_p", "typical_p", "top_k", "logprobs", "seed")
    own = ("position", "forced_token", "adjustment", "mask")
    rows = st.fixed_dictionaries({}, optional=dict.fromkeys((*in_row, *own), anything))
    fields = st.fixed_dictionaries(
        {},
        optional={
            "token_ids": st.lists(token | any_integer, max_size=20) | anything,
            "start": st.integers(0, CONTEXT) | anything,
            "block_table": st.lists(st.integers(0, BLOCKS - 1) | any_integer) | anything,
            "sampling": rows.map(lambda changed: row(**changed)) | st.none(),
            "verify_rows": st.lists(rows.map(lambda changed: row(**changed)), max_size=3),
            "hidden": st.booleans() | anything,
        },
    )
    inputs = data.draw(st.lists(fields.map(lambda changed: model_input(**changed)), max_size=4))
    check(model, inputs)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(token | any_integer.filter(lambda i: abs(i) < 2**31), any_number, any_number)
    ),
    st.sampled_from([0.0, 1.0, 5e-324, 1e6]),
    st.sampled_from([0, 1, 7]),
    st.sampled_from([1.0, 0.9, 5e-324]),
    st.lists(st.integers(0, 2**32 - 1), max_size=4) | st.none(),
)
def test_any_adjustment_and_mask(
    model: Model, changes: Any, temperature: float, top_k: int, mass: float, words: Any
) -> None:
    """FAULTS B7: a NaN among the scores broke the order that sorting relies on (SIGSEGV)."""
    ids = [each[0] for each in changes]
    factors, shifts = ([as_float(each[i]) for each in changes] for i in (1, 2))
    changed = adjustment(ids, np.array(factors, np.float64), np.array(shifts, np.float64))
    mask = None if words is None else np.array(words, np.uint32)
    for typical_p in (1.0, mass):
        asked = row(
            temperature=temperature,
            top_k=top_k,
            top_p=mass,
            typical_p=typical_p,
            adjustment=changed,
            mask=mask,
            logprobs=3,
        )
        check(model, [model_input(sampling=asked)])


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 0.0, -1.0])
@pytest.mark.parametrize("shift", [float("nan"), float("inf"), float("-inf")])
def test_penalties_that_are_not_finite_are_refused(
    model: Model, factor: float, shift: float
) -> None:
    """FAULTS B7: refused with the input named."""
    for changed in (adjustment([1], [factor], [0.0]), adjustment([1], [1.0], [shift])):
        with pytest.raises(ValueError, match=r"input 1: a (factor|shift) is not finite"):
            model.step([model_input(), model_input(sampling=row(adjustment=changed))])


def vectors() -> st.SearchStrategy[Any]:
    return st.integers(0, 99).map(lambda size: np.zeros(size, np.float32))


# Records within records, made of any values.
any_rope_table = st.builds(RopeTable, vectors() | anything, anything)
any_layer_shape = st.builds(LayerShape, anything, anything)
any_norm = st.builds(Norm, vectors() | anything, vectors() | anything)
part = anything | any_rope_table | any_layer_shape | any_norm | vectors()
record = part | st.lists(part, max_size=3)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_value_in_any_field_of_a_model(data: st.DataObject) -> None:
    """FAULTS B7: sizes that overflow, weights that are None, arrays of other types."""
    made = parts()
    name = data.draw(st.sampled_from(sorted(made)))
    field = data.draw(st.sampled_from(made[name]._fields))
    made[name] = made[name]._replace(**{field: data.draw(record)})
    built = run_or_refused(lambda: Model(**made, threads=1))
    if built is not None:
        built.step([model_input()])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(LayerWeights._fields), record | st.integers(0, 99).map(np.zeros))
def test_any_value_in_any_field_of_a_layer(field: str, value: Any) -> None:
    """FAULTS B7: None as a matrix was a null pointer."""
    made = parts()
    [first, second] = made["weights"].layers
    made["weights"] = made["weights"]._replace(layers=[first, second._replace(**{field: value})])
    built = run_or_refused(lambda: Model(**made, threads=1))
    if built is not None:  # a vector of the right width, or a norm or bias that it has not
        assert value is None or isinstance(value, np.ndarray | Norm)
        built.step([model_input()])


@pytest.mark.parametrize("field", LayerWeights._fields)
def test_a_layers_field_of_another_type_is_refused_by_name(field: str) -> None:
    for value in ("text", np.zeros(3)):
        made = parts()
        layers = [layer._replace(**{field: value}) for layer in made["weights"].layers]
        made["weights"] = made["weights"]._replace(layers=layers)
        with pytest.raises(ValueError, match=f"field ({field}|weight) "):
            Model(**made, threads=1)


WIDE, NAN = np.ones(5, np.float32), np.array([np.nan], np.float32)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"head_dim": 7}, "field query_norm|head width"),
        ({"query_heads": 2**62}, "field query_norm|out of range"),
        ({"rope_tables": [RopeTable(WIDE)]}, "wider than a head"),
        ({"rope_tables": [RopeTable(WIDE[:0])]}, "empty"),
        ({"rope_tables": [RopeTable(NAN)]}, "frequency is not finite"),
        ({"rope_tables": [RopeTable(WIDE[:4], float("nan"))]}, "factor is not finite"),
        ({"rope_tables": [RopeTable(WIDE[:4])] * 65}, "more than 64"),
        ({"rope_tables": []}, "rope table does not exist"),
        ({"layers": [LayerShape(rope_table=1)] * 2}, "rope table does not exist"),
        ({"layers": [LayerShape(rope_table=-2)] * 2}, "rope table does not exist"),
        ({"layers": [LayerShape(window=-1)] * 2}, "window"),
        ({"layers": [LayerShape()]}, "number of layers"),
        ({"norm": "layer"}, "bias"),
        ({"norm": "batch"}, "field norm"),
        ({"head_norm": "none"}, "field query_norm|norms of queries"),
        ({"head_norm": "projection"}, "field query_norm has the wrong width"),
        ({"gated": False}, "gate_up"),
        ({"activation": "relu"}, "field activation"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(changed: dict[str, Any], message: str) -> None:
    made = parts()
    made["shape"] = made["shape"]._replace(**changed)
    with pytest.raises(ValueError, match=message):
        Model(**made, threads=1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"final_norm": None}, "no final norm"),
        ({"final_norm": Norm(None)}, "field final_norm"),  # type: ignore[arg-type]
        ({"final_norm": Norm(np.ones(HIDDEN, "f4"), np.ones(HIDDEN, "f4"))}, "bias"),
        ({"positions": (CONTEXT - 1, HIDDEN)}, "positions"),
        ({"head": (VOCABULARY, HIDDEN + 1)}, "head"),
    ],
)
def test_weights_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    made = parts()
    for name in {"positions", "head"} & changed.keys():
        changed = {name: matrix(*changed[name])}
    made["weights"] = made["weights"]._replace(**changed)
    with pytest.raises(ValueError, match=message):
        Model(**made, threads=1)


@pytest.mark.parametrize("threads", [-1, 1025, 2**31 - 1])
def test_a_number_of_threads_out_of_range_is_refused(threads: int) -> None:
    """FAULTS B7: a thread that could not be started ended the process."""
    with pytest.raises(ValueError, match="threads"):
        Model(**parts(), threads=threads)


def test_a_list_that_changes_while_it_is_read(model: Model) -> None:
    """FAULTS B7: fields are read once, from a copy of the list."""
    inputs: list[Any] = []

    class Shrinking:
        hidden, sampling, verify_rows, token_ids, block_table = False, None, (), [1], [0]

        @property
        def start(self) -> int:
            inputs.clear()
            return 0

    inputs += [Shrinking() for _ in range(50)]
    assert model.step(inputs).sampled == []


@pytest.mark.parametrize("act", ["close", "step"])
def test_a_model_that_runs_can_neither_be_closed_nor_run_again(act: str) -> None:
    """FAULTS B7: closing a model while it ran freed the memory that it read."""
    long = [model_input(token_ids=[1] * CONTEXT, block_table=range(4)) for _ in range(200)]
    for _ in range(1000):  # until one attempt falls into the other thread's step
        model = Model(**parts(), threads=1)
        ended = threading.Event()

        def run(model: Model = model, ended: threading.Event = ended) -> None:
            with contextlib.suppress(RuntimeError):  # it was closed before it began
                model.step(long)
            ended.set()

        worker = threading.Thread(target=run)
        worker.start()
        message = ""
        while not message and not ended.wait(0.001):
            try:
                model.close() if act == "close" else model.step([model_input()])
            except RuntimeError as error:
                message = str(error)
        worker.join()
        if message == "the model is running in another thread":
            break
    assert message == "the model is running in another thread"
    model.close()
    with pytest.raises(RuntimeError, match="closed"):
        model.step([model_input()])
