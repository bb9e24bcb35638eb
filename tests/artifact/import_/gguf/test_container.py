from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from ingot.artifact.import_.gguf.container import GgufFile
from ingot.errors import ArtifactError
from tests.artifact.import_.gguf.writing import Described, gguf_bytes, text

F32, Q8_0 = 0, 8
ROW = struct.pack("<8f", *range(8))


def refused(path: Path, data: bytes) -> str:
    """Return the one line with which a file is refused."""
    path.write_bytes(data)
    with pytest.raises(ArtifactError) as caught:
        GgufFile(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def test_reads_what_the_gguf_package_writes(path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "a.weight": rng.normal(size=(6, 64)).astype(np.float32),
        "b.weight": rng.normal(size=(3, 32)).astype(np.float16),
    }
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_bool("general.flag", True)
    writer.add_token_list(["a", "é", "日本"])
    writer.add_token_scores([0.5, -1.5, 2.0])
    writer.add_custom_alignment(64)
    for name, values in weights.items():
        writer.add_tensor(name, values)
    packed = gguf.quants.quantize(weights["a.weight"], gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("c.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    with GgufFile(path) as file:
        assert file.metadata["llama.block_count"] == 2
        # The decimal number that was written, not the nearest float32 in 16 digits.
        assert file.metadata["llama.attention.layer_norm_rms_epsilon"] == 1e-5
        assert file.metadata["general.flag"] is True
        assert file.metadata["tokenizer.ggml.tokens"] == ["a", "é", "日本"]
        scores: Any = file.metadata["tokenizer.ggml.scores"]
        assert scores.tolist() == [0.5, -1.5, 2.0]
        for name, values in weights.items():
            np.testing.assert_array_equal(file.read(name), values.astype(np.float32))
        restored = gguf.quants.dequantize(packed, gguf.GGMLQuantizationType.Q8_0)
        np.testing.assert_array_equal(file.read("c.weight"), restored)
        assert file.tensors["c.weight"].shape == (6, 64)


@pytest.mark.parametrize("version", [2, 3])
def test_versions(path: Path, version: int) -> None:
    path.write_bytes(gguf_bytes({}, [Described("t", (8,), F32, ROW)], version=version))

    with GgufFile(path) as file:
        assert file.read("t").tolist() == list(range(8))


def test_cut_anywhere_is_refused(path: Path) -> None:
    whole = gguf_bytes({"k": ["a", "b"], "n": 7}, [Described("t", (8,), F32, ROW)])

    for length in range(len(whole)):
        refused(path, whole[:length])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GGML" + bytes(60), "is not a GGUF file"),
        (gguf_bytes({}, version=1), "version 1, not 2 or 3"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (gguf_bytes({}, counts=(10**6, 0)), "1000000 tensors, more than 65,536"),
        (gguf_bytes({}, counts=(1 << 63, 0)), "tensors, more than"),
        (gguf_bytes({}, counts=(0, 1 << 40)), "keys, more than"),
        (gguf_bytes([("k", 1), ("k", 2)]), "'k' is empty or occurs twice"),
        (gguf_bytes({"": 1}), "'' is empty"),
        (gguf_bytes({}, counts=(0, 1)) + struct.pack("<Q", 1 << 62), "a key has"),
        (gguf_bytes({"k": struct.pack("<IQ", 8, 1 << 60)}), "bytes, more than"),
        (gguf_bytes({"k": struct.pack("<I", 8) + text(b"\xff")}), "k is not UTF-8"),
        (gguf_bytes({"k": struct.pack("<I", 99)}), "k has elements of type 99"),
        (gguf_bytes({"k": struct.pack("<IIQ", 9, 9, 1)}), "k has elements of type 9"),
        (gguf_bytes({"k": struct.pack("<IIQ", 9, 8, 1 << 50)}), "elements, more than"),
        (gguf_bytes({"k": struct.pack("<IIQ", 9, 4, 1 << 19)}), "truncated"),
        (gguf_bytes({"k": struct.pack("<IB", 7, 2)}), "truth value"),
        (gguf_bytes({"general.alignment": 12}), "general.alignment is not a power of two"),
        (gguf_bytes({"general.alignment": "32"}), "general.alignment is not a power of two"),
        (gguf_bytes({}, [Described("t", (), F32, ROW)]), "0 dimensions"),
        (gguf_bytes({}, [Described("t", (1,) * 5, F32, ROW)]), "5 dimensions"),
        (gguf_bytes({}, [Described("t", (0,), F32, ROW)]), "is not in this file"),
        (gguf_bytes({}, [Described("t", (1 << 63, 1 << 63), F32, ROW)]), "is not in this file"),
        (gguf_bytes({}, [Described("t", (8,), 10, ROW)]), "is of type Q2_K, which is not supp"),
        (gguf_bytes({}, [Described("t", (8,), 77, ROW)]), "is of type 77, which is not supported"),
        (gguf_bytes({}, [Described("t", (8,), Q8_0, ROW)]), "rows of 8 values"),
        (gguf_bytes({}, [Described("t" * 64, (8,), F32, ROW)]), "name of a tensor has 64 bytes"),
        (gguf_bytes({}, [Described("t", (8,), F32, ROW)] * 2), "'t' has no name or occurs twice"),
        (
            gguf_bytes({}, [Described("t", (8,), F32, ROW), Described("u", (8,), F32, ROW, 0)]),
            "'u' leaves a hole or overlaps",
        ),
        (gguf_bytes({}, [Described("t", (8,), F32, ROW, 32)]), "'t' leaves a hole or overlaps"),
        (gguf_bytes({}, [Described("t", (16,), F32, ROW)]), "truncated: tensor 't' ends"),
        (gguf_bytes({}, [Described("t", (8,), F32, ROW)]) + b"x", "belong to no tensor"),
    ],
)
def test_hostile_headers(path: Path, data: bytes, said: str) -> None:
    assert said in refused(path, data)


def test_a_device_or_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing"):
        with pytest.raises(ArtifactError):
            GgufFile(path)


def test_a_file_that_changes_is_refused(path: Path) -> None:
    path.write_bytes(gguf_bytes({}, [Described("t", (8,), F32, ROW)]))
    with GgufFile(path) as file:
        os.utime(path, ns=(1, 1))
        with pytest.raises(ArtifactError, match="was changed while it was read"):
            file.read("t")
        with pytest.raises(ArtifactError, match="was changed while it was read"):
            file.sha256()


def test_a_file_that_is_cut_short_is_refused(path: Path) -> None:
    path.write_bytes(gguf_bytes({}, [Described("t", (8,), F32, ROW)]))
    with GgufFile(path) as file:
        os.truncate(path, file.nbytes - 8)
        with pytest.raises(ArtifactError, match="was cut short while it was read"):
            file.read("t")
