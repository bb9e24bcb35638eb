"""GGUF files: header, metadata, tensors, tokenizer and template, opened as an import opens them."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from tokenizers import pre_tokenizers

from ingot.artifact.import_ import open_gguf
from tests.artifact.import_.gguf.writing import Described, gguf_bytes
from tests.fuzz.mutate import mutate_bytes

_SIZES = (0, 1, 3, 32, 255, 1 << 16, (1 << 31) - 1, 1 << 32, (1 << 63) - 1, (1 << 64) - 1)
_ARCHITECTURES = (
    "llama",
    "qwen2",
    "qwen3",
    "smollm3",
    "granite",
    "phi3",
    "olmo2",
    "gemma3",
    "gpt2",
)
_SUFFIXES = (
    "attention.key_length",
    "attention.scale",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "embedding_scale",
    "expert_count",
    "rope.dimension_count",
    "rope.freq_base_swa",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "vocab_size",
)
_NAMES = ("rope_freqs.weight", "rope_factors_long.weight", "output.weight", "blk.0.attn_qkv.weight")


@functools.cache
def _model() -> tuple[dict[str, Any], tuple[Described, ...]]:
    """Keys without a tokenizer, and tensors, of a model of one block."""
    width, rows = 32, 280
    keys: dict[str, Any] = {
        "general.architecture": "llama",
        "general.license": "mit",
        "general.sampling.temp": 1.0,
        "llama.block_count": 1,
        "llama.context_length": 64,
        "llama.embedding_length": width,
        "llama.feed_forward_length": width,
        "llama.attention.head_count": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10_000.0,
    }
    shapes = {"token_embd.weight": (width, rows), "output_norm.weight": (width,)}
    shapes |= {f"blk.0.{name}.weight": (width,) for name in ("attn_norm", "ffn_norm")}
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        shapes[f"blk.0.{name}.weight"] = (width, width)
    block = b"\x00\x3c\x00\x3c" + bytes(16)  # Q4_1: every value is 1
    tensors = [
        Described(name, shape, 0, np.ones(shape, dtype="<f4").tobytes())
        if len(shape) == 1
        else Described(name, shape, 3, block * shape[1])
        for name, shape in shapes.items()
    ]
    return keys, tuple(tensors)


@functools.cache
def _tokenizers() -> tuple[dict[str, Any], dict[str, Any]]:
    """Keys of a byte-level vocabulary, and of one with scores."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = [*alphabet, "ab", "<|end|>"]
    pieces = ["<unk>", *(f"<0x{value:02X}>" for value in range(256)), "▁", "a", "▁a", "<s>"]
    byte_level: dict[str, Any] = {
        "model": "gpt2",
        "pre": "llama-bpe",
        "tokens": plain,
        "token_type": [1] * (len(plain) - 1) + [3],
        "merges": ["a b"],
        "bos_token_id": len(plain) - 1,
        "eos_token_id": len(plain) - 1,
    }
    scored: dict[str, Any] = {
        "model": "llama",
        "tokens": pieces,
        "token_type": [2] + [6] * 256 + [1, 1, 1, 3],
        "scores": [-float(rank) for rank in range(len(pieces))],
        "bos_token_id": len(pieces) - 1,
        "eos_token_id": len(pieces) - 1,
    }
    named = [
        {f"tokenizer.ggml.{key}": each for key, each in keys.items()}
        for keys in (byte_level, scored)
    ]
    for keys in named:
        keys["tokenizer.chat_template"] = "{{ messages[0].content }}"
    return named[0], named[1]


@functools.cache
def examples() -> Sequence[bytes]:
    keys, tensors = _model()
    return [gguf_bytes(keys | tokenizer, tensors) for tokenizer in _tokenizers()]


def make(random: Random) -> bytes:
    kind = random.randrange(5)
    if kind == 0:
        return mutate_bytes(random, random.choice(examples()))
    keys, tensors = _model()
    keys = keys | random.choice(_tokenizers())
    if random.random() < 0.4:
        name = random.choice(_ARCHITECTURES)
        keys = {key.replace("llama.", f"{name}."): each for key, each in keys.items()}
        keys["general.architecture"] = name
    listed = list(tensors)
    for _ in range(random.randint(1, 3)):
        if kind in (1, 2):
            _change_key(random, keys)
        if kind in (2, 3):
            _change_tensor(random, listed)
    counts = None
    if kind == 4:
        counts = (random.choice(_SIZES), random.choice((len(keys), *_SIZES)))
    pairs = list(keys.items())
    if random.random() < 0.1:
        pairs.append(random.choice(pairs))
    data = gguf_bytes(pairs, listed, version=random.choice((2, 3, 3, 3)), counts=counts)
    return mutate_bytes(random, data, most=1) if random.random() < 0.1 else data


def _change_key(random: Random, keys: dict[str, Any]) -> None:
    """Change, remove or add one key."""
    architecture = keys.get("general.architecture", "llama")
    name = random.choice(
        (*keys, f"{architecture}.{random.choice(_SUFFIXES)}", "general.alignment", "tokenizer.x")
    )
    if random.random() < 0.1:
        keys.pop(name, None)
        return
    keys[name] = _hostile(random, keys.get(name))


def _hostile(random: Random, before: Any) -> Any:
    """Return a value that a reader could trip over, or what was there with an element changed."""
    kind = random.randrange(10)
    if kind < 4 and isinstance(before, list) and before:
        changed = list(before)
        at = random.randrange(len(changed))
        changed[at] = random.choice(before) if isinstance(before[0], str) else type(before[0])(7)
        return changed if kind else changed[: max(1, at)]
    if kind < 5:
        return random.choice((0, 1, 2, 7, 64, 1 << 20, (1 << 32) - 1))
    if kind == 5:
        return random.choice((0.0, 1.0, -1.0, 1e-30, 3e38, float("nan"), float("inf")))
    if kind == 6:
        return random.choice((True, False, "", "a", "yarn", "none", "☃" * 500, "{% for %}"))
    if kind == 7:  # a length that is not there
        inner = random.choice((0, 4, 6, 7, 8, 9, 12, 13, 99))
        return struct.pack("<IIQ", 9, inner, random.choice(_SIZES)) + random.randbytes(16)
    if kind == 8:
        return struct.pack("<I", random.choice((0, 8, 10, 11, 12, 13, 99))) + random.randbytes(8)
    return random.choice(([1, 2, 3], [1.5] * 40, ["x", ""], ["▁" * 300] * 20, [True, False]))


def _change_tensor(random: Random, tensors: list[Described]) -> None:
    """Change one tensor's description or data, or add, remove or repeat one."""
    at = random.randrange(len(tensors))
    each = tensors[at]
    kind = random.randrange(8)
    if kind == 0:
        dimensions = [*each.dimensions]
        dimensions[random.randrange(len(dimensions))] = random.choice(_SIZES)
        tensors[at] = replace(each, dimensions=tuple(dimensions))
    elif kind == 1:
        tensors[at] = replace(each, kind=random.choice((0, 1, 2, 8, 10, 12, 14, 30, 77, 1 << 31)))
    elif kind == 2:
        tensors[at] = replace(each, offset=random.choice((*_SIZES[:8], 1 << 40)))
    elif kind == 3:
        tensors[at] = replace(each, name=random.choice(("", "x" * 70, *_NAMES, tensors[0].name)))
    elif kind == 4:
        tensors[at] = replace(each, data=random.randbytes(len(each.data)))
    elif kind == 5:
        tensors[at] = replace(each, data=each.data[: random.randrange(len(each.data))])
    elif kind == 6:
        values = np.ones(random.choice((1, 8, 16)), dtype="<f4").tobytes()
        tensors.append(Described(random.choice(_NAMES), (len(values) // 4,), 0, values))
    elif len(tensors) > 1:
        del tensors[at]


def attempt(data: bytes) -> None:
    path = Path("model.gguf")
    path.write_bytes(data)
    with open_gguf(path) as opened:
        for values in opened.tensors.values():
            assert values.dtype == np.float32
        ids = opened.tokenizer.encode("a test ☃")
        opened.tokenizer.decode(ids)
