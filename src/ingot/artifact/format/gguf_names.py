"""Names of tensors in GGUF files, by those of Hugging Face.

Source: llama.cpp's ``gguf-py/gguf/tensor_mapping.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

OUTSIDE: Mapping[str, str] = {
    "model.embed_tokens": "token_embd",
    "model.position_embeddings": "position_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
"""Names outside the blocks, without ``.weight`` or ``.bias``."""

BLOCK: Mapping[str, str] = {
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
"""Names within a block that has a norm before attention and one before the feed-forward layer."""

NORMS_AFTER: Mapping[str, str] = {
    "post_attention_layernorm": "post_attention_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
"""What differs in a block whose norms follow attention and feed-forward layer."""

NORMS_AROUND: Mapping[str, str] = {**NORMS_AFTER, "pre_feedforward_layernorm": "ffn_norm"}
"""What differs in a block with norms before and after."""
