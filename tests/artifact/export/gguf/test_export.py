"""GGUF files, read by the ``gguf`` package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from ingot.artifact import Scheme
from ingot.artifact.export import GgufType, export_gguf
from ingot.errors import UsageError
from ingot.model import ModelConfig
from tests.artifact.export.conftest import SIZES, Make

NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "blk.1.attn_k.weight": "model.layers.1.self_attn.k_proj.weight",
    "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
    "blk.0.ffn_gate.weight": "model.layers.0.mlp.gate_proj.weight",
    "blk.1.attn_norm.weight": "model.layers.1.input_layernorm.weight",
    "blk.1.ffn_norm.weight": "model.layers.1.post_attention_layernorm.weight",
    "blk.0.attn_q_norm.weight": "model.layers.0.self_attn.q_norm.weight",
    "output_norm.weight": "model.norm.weight",
}


def contents(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, str]]:
    """Metadata, tensors as float32, and their formats."""
    reader = gguf.GGUFReader(path)
    values, kinds = {}, {}
    for tensor in reader.tensors:
        shape = tuple(int(size) for size in reversed(tensor.shape))
        read = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        values[tensor.name], kinds[tensor.name] = read.reshape(shape), tensor.tensor_type.name
    fields = {name: field.contents() for name, field in reader.fields.items()}
    return fields, values, kinds


@pytest.mark.parametrize(
    ("kind", "most"), [("f32", 0), ("bf16", 0), ("f16", 1e-4), ("q8_0", 3e-3), ("q4_k", 0.06)]
)
def test_holds_every_weight(make: Make, tmp_path: Path, kind: GgufType, most: float) -> None:
    out = tmp_path / "small.gguf"
    with make() as ingot:
        made = export_gguf(ingot, out, kind=kind)
        expected = dict(ingot.float32())
    _, values, kinds = contents(out)
    assert len(values) == len(expected)
    for theirs, ours in NAMES.items():
        assert np.abs(values[theirs] - expected[ours]).max() <= most, theirs
    assert kinds["blk.0.ffn_down.weight"] == made.kind == kind.upper()
    assert kinds["output_norm.weight"] == "F32"
    assert kinds["token_embd.weight"] == ("Q5_0" if kind == "q4_k" else made.kind)


def test_says_what_llama_cpp_needs(make: Make, tmp_path: Path) -> None:
    with make(Scheme("int8")) as ingot:
        made = export_gguf(ingot, tmp_path / "small.gguf")
        tokenizer, digest = ingot.tokenizer, ingot.digest
    fields, _, kinds = contents(made.path)
    assert set(kinds.values()) == {"F32", "Q8_0"}
    assert fields["general.architecture"] == "qwen3"
    assert fields["qwen3.block_count"] == 2
    assert fields["qwen3.attention.head_count_kv"] == 2
    assert fields["qwen3.rope.freq_base"] == 10_000
    assert fields["ingot.digest"] == digest
    assert fields["general.file_type"] == 7
    assert fields["tokenizer.ggml.model"] == "gpt2"
    assert fields["tokenizer.ggml.pre"] == "smaug-bpe"
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["tokenizer.ggml.eos_token_id"] == tokenizer.eos_id
    tokens, kinds_of = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert len(tokens) == len(kinds_of) == 320  # 20 rows without a token
    assert tokens[tokenizer.eos_id] == "<|endoftext|>"
    assert kinds_of[tokenizer.eos_id] == gguf.TokenType.CONTROL
    assert kinds_of[300:] == [gguf.TokenType.UNUSED] * 20


@pytest.mark.parametrize("group", [32, 64])
def test_int4_is_q4_0_bit_for_bit(make: Make, tmp_path: Path, group: int) -> None:
    scheme = Scheme("int4", group, (("*.1.mlp.down_proj", "bf16"), ("*.0.mlp.down_proj", "int8")))
    with make(scheme) as ingot:
        made = export_gguf(ingot, tmp_path / "small.gguf")
        expected = dict(ingot.float32())
    _, values, kinds = contents(made.path)
    for theirs, ours in NAMES.items():
        if kinds[theirs] != "Q8_0":
            np.testing.assert_array_equal(values[theirs], expected[ours], theirs)
    assert (made.kind, kinds["token_embd.weight"]) == ("Q4_0", "Q4_0")
    assert kinds["blk.1.ffn_down.weight"] == "BF16"
    assert kinds["blk.0.ffn_down.weight"] == "Q8_0"
    assert made.notes == ("1 matrices are BF16.", "1 matrices are Q8_0.")


def test_a_sliding_window_is_refused(make: Make, tmp_path: Path) -> None:
    config = ModelConfig(**SIZES, sliding_window=9)  # type: ignore[arg-type]
    with make(config=config) as ingot, pytest.raises(UsageError, match="sees 9"):
        export_gguf(ingot, tmp_path / "small.gguf")
    assert not (tmp_path / "small.gguf").exists()


def test_only_a_gguf_file_is_replaced(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "small.gguf"
    with make() as ingot:
        export_gguf(ingot, out)
        with pytest.raises(UsageError, match="exists already"):
            export_gguf(ingot, out)
        before = out.read_bytes()
        export_gguf(ingot, out, overwrite=True)
        assert out.read_bytes() == before
        out.write_bytes(b"thesis")
        with pytest.raises(UsageError, match="another kind of file"):
            export_gguf(ingot, out, overwrite=True)
        with pytest.raises(UsageError, match="is a folder"):
            export_gguf(ingot, tmp_path, overwrite=True)
        with pytest.raises(UsageError, match="q2_k"):
            export_gguf(ingot, tmp_path / "x.gguf", kind="q2_k")  # type: ignore[arg-type]
    assert out.read_bytes() == b"thesis"
