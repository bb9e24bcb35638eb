"""Config and weights out of GGUF, and files that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from ingot.artifact.import_.gguf.container import GgufFile
from ingot.artifact.import_.gguf.metadata import Metadata
from ingot.artifact.import_.gguf.model import GgufModel
from ingot.errors import ArtifactError
from tests.artifact.import_.gguf.converting import FAMILIES, convert
from tests.artifact.import_.gguf.writing import Described, gguf_bytes

F32 = 0


def opened(path: Path) -> GgufModel:
    file = GgufFile(path)
    return GgufModel(file, Metadata(file.metadata, path))


@pytest.mark.parametrize("dtype", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_quantized_rows_go_back_to_their_places(dtype: str, tmp_path: Path) -> None:
    family = FAMILIES[0]
    original = family.make()
    convert(original, family.architecture, tmp_path / "model.gguf", {}, dtype=dtype)

    ours = opened(tmp_path / "model.gguf")

    kind = gguf.GGMLQuantizationType[dtype]
    for name, values in ours.tensors.items():
        expected = original.state_dict()[name].numpy()
        if expected.ndim == 2 and expected.shape[1] % gguf.GGML_QUANT_SIZES[kind][0] == 0:
            expected = gguf.quants.dequantize(gguf.quants.quantize(expected, kind), kind)
        np.testing.assert_array_equal(values, expected)


def test_llama3_scaling_is_recognised_and_other_divisors_are_kept(tmp_path: Path) -> None:
    family = next(each for each in FAMILIES if each.name == "llama3")
    convert(family.make(), "llama", tmp_path / "model.gguf", {})

    rope = opened(tmp_path / "model.gguf").config.rope
    assert (rope.rope_type, rope.factor, rope.rope_theta) == ("llama3", 32.0, 500_000.0)

    data = (tmp_path / "model.gguf").read_bytes()
    changed = np.array([1, 1, 1, 1, 2, 3, 4, 5], dtype="<f4").tobytes()
    with GgufFile(tmp_path / "model.gguf") as file:
        start = file.tensors["rope_freqs.weight"].start
    (tmp_path / "model.gguf").write_bytes(data[:start] + changed + data[start + len(changed) :])

    rope = opened(tmp_path / "model.gguf").config.rope
    assert rope.short_factor == rope.long_factor == (1, 1, 1, 1, 2, 3, 4, 5)
    frequencies, factor = rope.frequencies(16, 128)
    plain = 500_000.0 ** -(np.arange(8) / 8)
    np.testing.assert_allclose(frequencies, plain / rope.short_factor, rtol=1e-6)
    assert factor == 1.0


# Files that are no model.

KEYS: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 1,
    "llama.context_length": 16,
    "llama.embedding_length": 4,
    "llama.feed_forward_length": 4,
    "llama.attention.head_count": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
}
SHAPES = {
    "token_embd.weight": (4, 6),
    "output_norm.weight": (4,),
    "blk.0.attn_norm.weight": (4,),
    "blk.0.ffn_norm.weight": (4,),
    **{
        f"blk.0.{name}.weight": (4, 4)
        for name in (
            "attn_q",
            "attn_k",
            "attn_v",
            "attn_output",
            "ffn_gate",
            "ffn_up",
            "ffn_down",
        )
    },
}


def write(path: Path, keys: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> Path:
    tensors = [
        Described(name, shape, F32, np.ones(shape, dtype="<f4").tobytes())
        for name, shape in shapes.items()
    ]
    path.write_bytes(gguf_bytes({k: v for k, v in keys.items() if v is not None}, tensors))
    return path


def test_the_smallest_model(tmp_path: Path) -> None:
    config = opened(write(tmp_path / "m.gguf", KEYS, SHAPES)).config

    assert (config.head_dim, config.num_key_value_heads, config.vocab_size) == (2, 2, 6)
    assert config.tie_word_embeddings
    assert config.rope.rope_theta == 10_000.0


def test_matrices_that_are_one_in_the_file_are_taken_apart(tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in SHAPES.items() if name[:12] != "blk.0.attn_q"}
    for name in ("attn_k", "attn_v", "ffn_gate"):
        del shapes[f"blk.0.{name}.weight"]
    shapes |= {"blk.0.attn_qkv.weight": (4, 12), "blk.0.ffn_up.weight": (4, 8)}
    path = write(tmp_path / "m.gguf", KEYS, shapes)
    with GgufFile(path) as file:
        start = file.tensors["blk.0.attn_qkv.weight"].start
    data = bytearray(path.read_bytes())
    data[start : start + 192] = np.arange(48, dtype="<f4").tobytes()
    path.write_bytes(data)

    tensors = opened(path).tensors

    # Heads of two rows have one pair each, so no row changes its place.
    np.testing.assert_array_equal(
        np.concatenate([tensors[f"model.layers.0.self_attn.{each}_proj.weight"] for each in "qkv"]),
        np.arange(48).reshape(12, 4),
    )
    assert tensors["model.layers.0.mlp.gate_proj.weight"].shape == (4, 4)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"general.architecture": "mamba"}, "architecture 'mamba' is not supported"),
        ({"general.architecture": None}, "general.architecture is missing"),
        ({"general.type": "adapter"}, "general.type is 'adapter'"),
        ({"split.count": 3}, "is one part of a split model"),
        ({"llama.surprise": 1}, "llama.surprise is not understood"),
        ({"llama.block_count": 2}, "tensor 'blk.1.attn_norm.weight' is missing"),
        ({"llama.block_count": 1 << 31}, "llama.block_count is 2147483648"),
        ({"llama.block_count": 0}, "llama.block_count is 0"),
        ({"llama.attention.head_count": 0}, "llama.attention.head_count is 0"),
        ({"llama.attention.head_count": [2, 3]}, "must be one number, or 1 that are alike"),
        ({"llama.attention.value_length": 4}, "value_length differs from key_length, 2"),
        ({"llama.feed_forward_length": 1 << 31}, "model.intermediate_size"),
        ({"llama.vocab_size": 7}, "llama.vocab_size is not that of token_embd.weight, 6"),
        ({"llama.embedding_length": "4"}, "llama.embedding_length must be a whole number"),
        ({"llama.rope.dimension_count": 1}, "rope.dimension_count is 1, which is not supp"),
        ({"llama.rope.freq_base": float("nan")}, "rope.freq_base must be a finite number"),
        ({"llama.rope.scaling.type": "dynamic", "llama.rope.scaling.factor": 2.0}, "'dynamic'"),
        ({"llama.rope.scaling.attn_factor": 2.0}, "attn_factor is not supported where type is"),
        ({"llama.rope.scaling.yarn_log_multiplier": 1.0}, "yarn_log_multiplier is not supported"),
        ({"llama.expert_count": 8}, "llama.expert_count is not supported unless it is 0"),
        ({"llama.attention.causal": False}, "attention.causal is not supported unless it is True"),
        ({"llama.attention.layer_norm_rms_epsilon": 0.0}, "model.rms_norm_eps"),
    ],
)
def test_keys_that_are_refused(keys: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        opened(write(tmp_path / "m.gguf", {**KEYS, **keys}, SHAPES))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"blk.0.attn_q.weight": (4, 2)}, "'blk.0.attn_q.weight' has shape (2, 4)"),
        ({"blk.0.surprise.weight": (4,)}, "'blk.0.surprise.weight' is not part of the model"),
        ({"blk.0.attn_q.bias": (4,)}, "tensor 'blk.0.attn_k.bias' is missing"),
        ({"rope_freqs.weight": (3,)}, "rope_freqs.weight must hold 1 finite numbers"),
        ({"rope_factors_long.weight": (1,)}, "tensor rope_factors_short.weight is missing"),
    ],
)
def test_tensors_that_are_refused(
    shapes: dict[str, tuple[int, ...]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError) as caught:
        opened(write(tmp_path / "m.gguf", KEYS, {**SHAPES, **shapes}))
    assert said in str(caught.value)
