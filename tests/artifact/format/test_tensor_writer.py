from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ingot.artifact import DTYPES, RawTensor, read_tensors, write_tensors
from ingot.artifact.format.tensor_writer import ALIGNMENT, stream_tensors
from ingot.errors import ArtifactError, ResourceError
from ingot.files import full_disk_named

REUSE = [HealthCheck.function_scoped_fixture]
dtypes = st.sampled_from([dtype for name, dtype in DTYPES.items() if name != "BF16"])
arrays = dtypes.flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=3, min_side=0))
)
names = st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__")


@given(
    tensors=st.dictionaries(names, arrays, max_size=5),
    metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)
@settings(max_examples=60, deadline=None, suppress_health_check=REUSE)
def test_both_readers_read_what_is_written(
    tmp_path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]
) -> None:
    path = tmp_path / "a.safetensors"
    written = write_tensors(path, tensors, metadata)
    ours, theirs = read_tensors(path), safetensors.numpy.load_file(path)
    assert set(ours) == set(theirs) == set(tensors)
    assert ours.metadata == metadata
    for name, tensor in tensors.items():
        assert ours[name].array().dtype == theirs[name].dtype == tensor.dtype
        assert ours[name].shape == theirs[name].shape == tensor.shape
        assert bytes(ours[name].data) == theirs[name].tobytes() == tensor.tobytes()
        assert written.tensor_sha256[name] == hashlib.sha256(tensor.tobytes()).hexdigest()
    data = path.read_bytes()
    assert (8 + int.from_bytes(data[:8], "little")) % ALIGNMENT == 0
    assert written.file_bytes == len(data)
    assert written.file_sha256 == hashlib.sha256(data).hexdigest()
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_need_not_be_digested_one_by_one(tmp_path: Path) -> None:
    tensors = {"a": np.arange(6, dtype=np.float32), "b": np.ones((2, 3), np.uint8)}
    whole = write_tensors(tmp_path / "whole", tensors)
    quick = write_tensors(tmp_path / "quick", tensors, digest_each=False)
    assert set(whole.tensor_sha256) == {"a", "b"}
    assert quick == whole._replace(tensor_sha256={})
    assert (tmp_path / "quick").read_bytes() == (tmp_path / "whole").read_bytes()


def test_every_tensor_is_aligned_to_its_items(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(
        path, {"odd": np.ones(3, np.uint8), "wide": np.ones(3), "half": np.ones(3, "<f2")}
    )
    for tensor in read_tensors(path).values():
        assert tensor.array().flags.aligned


def test_raw_bytes_come_at_once_or_in_pieces(tmp_path: Path) -> None:
    bits = np.arange(6, dtype="<u2")
    at_once = write_tensors(tmp_path / "a", {"t": RawTensor("BF16", (2, 3), bits.tobytes())})
    pieces = iter([memoryview(bits[:2]), bits[2:].reshape(2, 2), b""])
    in_pieces = write_tensors(tmp_path / "b", {"t": RawTensor("BF16", (2, 3), pieces)})
    assert at_once == in_pieces
    tensor = read_tensors(tmp_path / "b")["t"]
    assert (tensor.dtype, tensor.shape) == ("BF16", (2, 3))
    np.testing.assert_array_equal(tensor.array(), bits.reshape(2, 3))


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (np.ones(3, np.complex64), "dtype complex64"),
        (np.ones(3, ">f4"), "dtype >f4"),
        (np.array(["text"]), "dtype <U4"),
        (RawTensor("F31", (3,), b"x" * 12), "unknown dtype 'F31'"),
        (RawTensor("F32", (3,), b"x" * 8), "4 bytes too few"),
        (RawTensor("F32", (3,), iter([b"x" * 8, b"x" * 8])), "4 bytes too many"),
    ],
)
def test_refuses_and_leaves_the_old_file(
    tmp_path: Path, tensor: np.ndarray | RawTensor, what: str
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(ArtifactError, match=what):
        write_tensors(path, {"good": np.ones(3), "t": tensor})
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def test_refuses_the_reserved_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="__metadata__"):
        write_tensors(tmp_path / "a", {"__metadata__": np.ones(3)})


def test_a_full_disk_is_named() -> None:
    # /dev/full answers every write with "no space left on device".
    full = Path("/dev/full")
    with (
        pytest.raises(ResourceError, match="/dev/full: the disk is full"),
        full_disk_named(full),
        full.open("wb", buffering=0) as file,
    ):
        stream_tensors(file, {"a": np.ones(3)}, {}, where=full)


def test_header_is_plain_json_with_the_names_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"ü": np.ones((2, 2), np.float32)})
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header == {"ü": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
