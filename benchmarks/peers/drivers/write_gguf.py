"""Write a Qwen3 checkpoint in GGUF, then in llama.cpp's formats: MODEL_FOLDER OUT_FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def main(folder: Path, out: Path) -> None:
    """Write ``f16.gguf``, ``Q8_0.gguf`` and ``Q4_0.gguf``."""
    config = json.loads((folder / "config.json").read_text())
    out.mkdir(parents=True, exist_ok=True)
    half = out / "f16.gguf"
    write_half(folder, config, half)
    for name in ("Q8_0", "Q4_0"):
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name}")
        done = llama_cpp.llama_model_quantize(
            str(half).encode(), str(out / f"{name}.gguf").encode(), params
        )
        if done != 0:
            raise RuntimeError(f"llama.cpp does not write {name}")


def write_half(folder: Path, config: dict[str, int], out: Path) -> None:
    """Write the weights as float16, with the tokenizer if it knows all of the vocabulary."""
    writer = gguf.GGUFWriter(out, "qwen3")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config.get("rope_theta", 1e6))
    writer.add_vocab_size(config["vocab_size"])
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    write_vocabulary(writer, tokenizer, config["vocab_size"])
    for path in sorted(folder.glob("*.safetensors")):
        for name, values in tensors_of(path):
            kept = values if values.ndim == 1 else values.astype(np.float16)
            writer.add_tensor(gguf_name(name), kept)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_vocabulary(writer: gguf.GGUFWriter, tokenizer: dict[str, Any], size: int) -> None:
    """Write a byte-level BPE tokenizer of ``size`` tokens; where it has fewer, none."""
    ids = tokenizer["model"]["vocab"]
    special = {each["content"]: each["id"] for each in tokenizer["added_tokens"]}
    texts = {number: text for text, number in (ids | special).items()}
    if len(texts) != size:
        writer.add_tokenizer_model("no_vocab")
        return
    kinds = dict.fromkeys(special.values(), gguf.TokenType.CONTROL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([texts[number] for number in range(size)])
    writer.add_token_types([kinds.get(number, gguf.TokenType.NORMAL) for number in range(size)])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    for number in special.values():
        writer.add_eos_token_id(number)


def gguf_name(name: str) -> str:
    """Return llama.cpp's name of a tensor that Hugging Face calls ``name``."""
    stem = name.removesuffix(".weight")
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{_NAMES[part]}.weight"
    return f"{_NAMES[stem]}.weight"


def tensors_of(path: Path) -> list[tuple[str, np.ndarray]]:
    """Return the bfloat16 or float32 tensors of a safetensors file, as float32."""
    memory = np.memmap(path, np.uint8, "r")
    size = int(memory[:8].view(np.uint64)[0])
    header = json.loads(bytes(memory[8 : 8 + size]))
    found = []
    for name, about in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + at for at in about["data_offsets"])
        raw = memory[begin:end]
        if about["dtype"] == "BF16":
            values = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = raw.view(np.float32)
        found.append((name, values.reshape(about["shape"])))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
