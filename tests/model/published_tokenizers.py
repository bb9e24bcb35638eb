"""Tokenizers of the kinds that are published, each trained on a little text.

The parts are those of the families' own ``tokenizer.json``; the vocabularies are small.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from ingot.model.tokenizer_json import GPT4O_PATTERN, LLAMA3_PATTERN, QWEN2_PATTERN

TEXT = [
    "The quick brown fox, of 1234 colours, jumps over it. Don't!\n\n  def f(x):\n\treturn x + 1\n",
    "Größe, naïve café; 你好世界。 Привет мир! 😀👍🏽 e\u0301 \u212b\r\n",
    "system user assistant\nHello there, how are you? I am fine: [1, 2, 3] {'a': 5}</b>\n",
] * 4
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def byte_level(pre_tokenizer: pre_tokenizers.PreTokenizer, specials: list[str]) -> Tokenizer:
    """Train byte-level BPE, special tokens first, as GPT-2 and SmolLM have them."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizer
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXT, trainer)
    return made


def split(pattern: str, *, removed: bool = False) -> pre_tokenizers.PreTokenizer:
    """Return the pre-tokenizer of a pattern; ``removed`` as converters from tiktoken write it."""
    parts = [
        pre_tokenizers.Split(Regex(pattern), "removed" if removed else "isolated", removed),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return pre_tokenizers.Sequence(parts)


def begins_with(made: Tokenizer, token: str) -> processors.PostProcessor:
    """Return the post-processor that puts a token before each text."""
    ids = [(token, made.token_to_id(token))]
    return processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token}:1 $B:1", special_tokens=ids
    )


def sentence_piece(*, scheme: str | None, specials: list[str], strip: bool) -> Tokenizer:
    """Train BPE with byte fallback and marks for spaces.

    Args:
        scheme: Prefix of the Metaspace pre-tokenizer, or None for the older normalizers.
        specials: Special tokens, which come first.
        strip: Whether decoding drops the first space.
    """
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if scheme is None:
        parts = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        made.normalizer = normalizers.Sequence(parts)
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if strip else [])])
    return trained(made, specials)


def trained(made: Tokenizer, specials: list[str]) -> Tokenizer:
    """Train a vocabulary with byte tokens; these are no added tokens in published ones."""
    trainer = trainers.BpeTrainer(
        vocab_size=560, special_tokens=[*specials, *BYTES], show_progress=False, limit_alphabet=60
    )
    made.train_from_iterator(TEXT, trainer)
    content = json.loads(made.to_str())
    content["added_tokens"] = [
        token for token in content["added_tokens"] if token["content"] not in BYTES
    ]
    return Tokenizer.from_str(json.dumps(content))


def gpt2() -> Tokenizer:
    made = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    return made


def qwen() -> Tokenizer:
    made = byte_level(split(QWEN2_PATTERN), [])
    made.normalizer = normalizers.NFC()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    made.add_tokens([AddedToken(text, normalized=False) for text in ("<think>", "</think>")])
    return made


def llama3() -> Tokenizer:
    made = byte_level(split(LLAMA3_PATTERN), [])
    content = json.loads(made.to_str())
    content["model"]["ignore_merges"] = True
    made = Tokenizer.from_str(json.dumps(content))
    made.add_special_tokens(
        ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"]
    )
    made.add_special_tokens(["<|eot_id|>", "<|eom_id|>"])
    made.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=True), begins_with(made, "<|begin_of_text|>")]
    )
    return made


def smollm2() -> Tokenizer:
    parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    return byte_level(
        pre_tokenizers.Sequence(parts), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    )


def phi4() -> Tokenizer:
    """Converted from tiktoken; the ids of its added tokens leave out some numbers."""
    made = byte_level(split(GPT4O_PATTERN, removed=True), [])
    content = json.loads(made.to_str())
    first = made.get_vocab_size() + 1
    for at, text in enumerate(["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]):
        flags = dict.fromkeys(("single_word", "lstrip", "normalized"), False)
        token = {"id": first + 3 * at, "content": text, **flags, "rstrip": at > 0, "special": True}
        content["added_tokens"].append(token)
        content["model"]["vocab"][text] = token["id"]
    return Tokenizer.from_str(json.dumps(content))


def llama2() -> Tokenizer:
    made = sentence_piece(scheme=None, specials=["<unk>", "<s>", "</s>"], strip=True)
    made.post_processor = begins_with(made, "<s>")
    return made


def mistral() -> Tokenizer:
    specials = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    made = sentence_piece(scheme="first", specials=specials, strip=True)
    made.post_processor = begins_with(made, "<s>")
    return made


def phi3() -> Tokenizer:
    made = sentence_piece(scheme=None, specials=["<unk>", "<s>", "</s>"], strip=True)
    names = ["<|endoftext|>", "<|assistant|>", "<|end|>", "<|user|>", "<|system|>"]
    made.add_special_tokens([AddedToken(name, rstrip=True, normalized=False) for name in names])
    return made


def gemma() -> Tokenizer:
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence(steps)
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    made = trained(made, specials)
    made.add_tokens([AddedToken(text, normalized=False) for text in ("\n\n", "▁▁", "<table>")])
    made.post_processor = begins_with(made, "<bos>")
    return made


def metaspace() -> Tokenizer:
    """Decoded by Metaspace, which drops all spaces of a text's first token."""
    made = sentence_piece(scheme="always", specials=["<unk>", "<s>", "</s>"], strip=False)
    made.decoder = decoders.Metaspace()
    return made


KINDS: Mapping[str, tuple[Callable[[], Tokenizer], Mapping[str, Any]]] = {
    "gpt2": (gpt2, {"eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>"}),
    "qwen": (qwen, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None}),
    "llama3": (llama3, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}),
    "smollm2": (smollm2, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}),
    "phi4": (phi4, {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}),
    "llama2": (
        llama2,
        {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "add_bos_token": True},
    ),
    "mistral": (mistral, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
    "phi3": (phi3, {"bos_token": "<s>", "eos_token": "<|endoftext|>", "add_bos_token": False}),
    "gemma": (gemma, {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}),
}
"""Of each kind what makes its tokenizer, and its ``tokenizer_config.json``."""


@cache
def files(kind: str) -> dict[str, bytes]:
    """Return the small files of a model of this kind."""
    config = KINDS[kind][1]
    return {
        "tokenizer.json": made(kind).to_str().encode(),
        "tokenizer_config.json": json.dumps(config).encode(),
    }


@cache
def made(kind: str) -> Tokenizer:
    """Return the library's own tokenizer of this kind."""
    return KINDS[kind][0]()
