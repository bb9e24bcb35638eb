from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingot.artifact import DTYPES, read_tensors, write_tensors
from ingot.artifact.format.tensor_reader import MAX_HEADER_BYTES
from ingot.errors import ArtifactError

REUSE = [HealthCheck.function_scoped_fixture]


def build(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8), **more: Any) -> Any:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[[bytes], str]:
    """Read bytes as a file; return the one-line refusal, which must name the file."""
    path = tmp_path / "hostile.safetensors"

    def read(data: bytes) -> str:
        path.write_bytes(data)
        with pytest.raises(ArtifactError) as caught:
            read_tensors(path)
        assert str(caught.value).startswith(f"{path}: ")
        return str(caught.value)

    return read


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "truncated"),
        (b"\x00" * 7, "truncated"),
        (b"\xff" * 8, "header of 18446744073709551615 bytes"),
        ((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}", "header of"),
        ((100).to_bytes(8, "little") + b"{}", "truncated inside its header"),
        (build(b"[]"), "not a JSON object"),
        (build(b"\xff\xff"), "not valid JSON"),
        (build(b'{"a":{},"a":{}}'), "key 'a' comes twice"),
        (build({"__metadata__": {"a": 1}}), "__metadata__"),
        (build({"__metadata__": ["a"]}), "__metadata__"),
        (build({"a": 3}), "'a' must have dtype, shape and data_offsets"),
        (build({"a": {"dtype": "F32", "shape": [2]}}), "must have dtype"),
        (build({"a": entry(extra=1)}, b"x" * 8), "nothing else"),
        (build({"a": entry(dtype="F31")}, b"x" * 8), "unknown dtype 'F31'"),
        (build({"a": entry(dtype=["F32"])}, b"x" * 8), "unknown dtype"),
        (build({"a": entry(shape=2)}, b"x" * 8), "whole numbers"),
        (build({"a": entry(shape=[-2])}, b"x" * 8), "whole numbers"),
        (build({"a": entry(shape=[-2, -1])}, b"x" * 8), "whole numbers"),
        (build({"a": entry(shape=[2.0])}, b"x" * 8), "whole numbers"),
        (build({"a": entry(shape=[2, True])}, b"x" * 8), "whole numbers"),
        (build({"a": entry(shape=[1] * 40, offsets=[0, 4])}, b"x" * 4), "at most 32"),
        (build({"a": entry(shape=[3])}, b"x" * 8), "does not fill its bytes"),
        (build({"a": entry(shape=[2**62, 4])}, b"x" * 8), "does not fill its bytes"),
        (build({"a": entry(shape=[0, 2**62], offsets=[0, 0])}), "does not fill its bytes"),
        (build({"a": entry(offsets=[0, 8, 8])}, b"x" * 8), "two whole numbers"),
        (build({"a": entry(offsets=[False, 8])}, b"x" * 8), "two whole numbers"),
        (build({"a": entry(offsets=[8, 0])}, b"x" * 8), "does not fill its bytes"),
        (build({"a": entry(offsets=[1, 9])}, b"x" * 9), "hole or overlaps"),
        (build({"a": entry(), "b": entry(offsets=[4, 12])}, b"x" * 12), "hole or overlaps"),
        (build({"a": entry(), "b": entry()}, b"x" * 8), "hole or overlaps"),
        (build({"a": entry(), "b": entry(offsets=[9, 17])}, b"x" * 17), "hole or overlaps"),
        (build({"a": entry()}, b"x" * 7), "truncated: 7 bytes of data"),
        (build({"a": entry()}, b"x" * 9), "1 bytes that belong to no tensor"),
    ],
)
def test_refuses(refusal: Callable[[bytes], str], data: bytes, what: str) -> None:
    assert what in refusal(data)


sizes = st.integers(-1, 9) | st.sampled_from([True, 2.0, 2**63, None])
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPES, "F31", None]),
        "shape": st.lists(sizes, max_size=3),
        "data_offsets": st.lists(sizes, min_size=1, max_size=3),
    }
)


@given(
    header=st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), entries | st.none()),
    data=st.binary(max_size=9),
)
@settings(max_examples=100, deadline=None, suppress_health_check=REUSE)
def test_accepts_nothing_that_the_formats_own_library_refuses(
    tmp_path: Path, header: dict[str, object], data: bytes
) -> None:
    path = tmp_path / "any.safetensors"
    path.write_bytes(build(header, data))
    try:
        ours = read_tensors(path)
    except ArtifactError:
        return
    with safetensors.safe_open(path, framework="numpy") as theirs:
        assert set(theirs.keys()) == set(ours)


@given(cut=st.integers(0, 10_000), flip=st.integers(1, 255), index=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None, suppress_health_check=REUSE)
def test_damage_gives_a_refusal_or_sound_tensors(
    tmp_path: Path, cut: int, flip: int, index: int
) -> None:
    path = tmp_path / "damaged.safetensors"
    write_tensors(path, {"a": np.ones((3, 5), "<f4"), "b": np.arange(7, dtype=np.uint8)})
    data = bytearray(path.read_bytes())
    data[index % len(data)] ^= flip
    path.write_bytes(data[: len(data) - cut % len(data)] if cut % 2 else data)
    try:
        tensors = read_tensors(path)
    except ArtifactError:
        return
    for tensor in tensors.values():
        assert tensor.array().nbytes == len(tensor.data)


def test_every_truncation_is_named(refusal: Callable[[bytes], str], tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    write_tensors(whole, {"a": np.ones(4, np.float32)})
    data = whole.read_bytes()
    for length in range(len(data)):
        assert "truncated" in refusal(data[:length])


def test_refuses_what_is_not_a_regular_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, tmp_path / "absent.safetensors"):
        with pytest.raises(ArtifactError, match=str(path)):
            read_tensors(path)


def test_tensors_are_read_only_and_outlive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": np.arange(5, dtype=np.int64)}, {"note": "kept"})
    with read_tensors(path) as tensors:
        assert tensors.metadata == {"note": "kept"}
        array = tensors["a"].array()
        assert tensors["a"].data.readonly
        assert bytes(tensors.contents) == path.read_bytes()
    assert len(tensors) == 0
    path.unlink()
    np.testing.assert_array_equal(array, np.arange(5))
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        array.flags.writeable = True


def test_a_write_through_a_pointer_into_the_file_is_fatal(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": np.arange(5, dtype=np.float32)})
    script = (
        "import ctypes, sys\nfrom pathlib import Path\nfrom ingot.artifact import read_tensors\n"
        "array = read_tensors(Path(sys.argv[1]))['a'].array()\naddress = array.ctypes.data\n"
        "print('reached', ctypes.string_at(address, 4).hex(), flush=True)\n"
        "ctypes.memset(address, 1, 4)\nprint('written')\n"
    )
    ended = run_python(script, path)
    assert ended.stdout == "reached 00000000\n"
    assert ended.returncode == -11
