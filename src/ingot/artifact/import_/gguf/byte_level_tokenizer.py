"""Byte-level BPE of a GGUF file (``tokenizer.ggml.model`` gpt2) as ``tokenizer.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingot.artifact.import_.gguf.metadata import Metadata
from ingot.artifact.import_.gguf.vocabulary import PREFIX, UNKNOWN, Vocabulary
from ingot.model.tokenizer_json import (
    GPT2_PATTERN,
    GPT4O_PATTERN,
    LLAMA3_PATTERN,
    QWEN2_PATTERN,
    TEKKEN_PATTERN,
)


@dataclass(frozen=True)
class Pretokenizer:
    """How text is split before merging, and what else comes with the name of it."""

    pattern: str
    single_digits: bool = False
    """Digits are split from each other first."""
    ignore_merges: bool = False
    """A piece that is a token is that token, whatever the merges make of it."""
    adds_bos: bool = False
    """Whether a text begins with the token of beginning, unless a key says otherwise."""
    normalized: bool = False
    """Text is brought to Unicode's form C first, as the published tokenizer does it.

    llama.cpp leaves this out; the two differ for decomposed characters alone.
    """


_GPT2, _STARCODER = Pretokenizer(GPT2_PATTERN), Pretokenizer(GPT2_PATTERN, single_digits=True)
_LLAMA3 = Pretokenizer(LLAMA3_PATTERN, ignore_merges=True, adds_bos=True)
_GPT4, _GPT4O = Pretokenizer(LLAMA3_PATTERN), Pretokenizer(GPT4O_PATTERN)
_QWEN2 = Pretokenizer(QWEN2_PATTERN, normalized=True)
_TEKKEN = Pretokenizer(TEKKEN_PATTERN, ignore_merges=True, adds_bos=True)

PRETOKENIZERS: Mapping[str, Pretokenizer] = {
    "gpt-2": _GPT2,
    "phi-2": _GPT2,
    "olmo": _GPT2,
    "smollm": _STARCODER,
    "starcoder": _STARCODER,
    "refact": _STARCODER,  # Granite 3
    "command-r": _STARCODER,
    "codeshell": _STARCODER,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "falcon3": _LLAMA3,
    "dbrx": _GPT4,  # OLMo 2, Granite 4, Phi-4
    "smaug-bpe": _GPT4,  # SmolLM3
    "qwen2": _QWEN2,  # and Qwen 3
    "deepseek-r1-qwen": _QWEN2,
    "gpt-4o": _GPT4O,  # Phi-4-mini
    "tekken": _TEKKEN,  # Mistral Nemo
}
"""Splits by the name under ``tokenizer.ggml.pre``; those of the families that can be read."""


def read_pretokenizer(metadata: Metadata) -> Pretokenizer:
    """Return the split that a file names.

    Raises:
        ArtifactError: it names none, or one that is not known here.
    """
    key = f"{PREFIX}pre"
    name = metadata.text(key)
    if name not in PRETOKENIZERS:
        raise metadata.wrong(key, f"{name[:40]!r} is not supported")
    return PRETOKENIZERS[name]


def byte_level_json(
    metadata: Metadata, vocabulary: Vocabulary, split: Pretokenizer
) -> dict[str, Any]:
    """Return the ``tokenizer.json`` of a byte-level vocabulary.

    Raises:
        ArtifactError: a merge is not of two tokens that make a third.
    """
    ids = vocabulary.ids()
    unknown = [
        token
        for token, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=True)
        if kind == UNKNOWN
    ]
    merges = [_merge(metadata, text, ids) for text in metadata.texts(f"{PREFIX}merges")]
    steps: list[dict[str, Any]] = []
    if split.single_digits:
        steps.append({"type": "Digits", "individual_digits": True})
    own = split.pattern == GPT2_PATTERN  # which the byte-level step has built in
    if not own:
        pattern = {"Regex": split.pattern}
        steps.append({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False})
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    steps.append({**byte_level, "use_regex": own})
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": vocabulary.added(),
        "normalizer": {"type": "NFC"} if split.normalized else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": unknown[0] if unknown else None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": split.ignore_merges,
            "vocab": ids,
            "merges": merges,
        },
    }


def _merge(metadata: Metadata, text: str, ids: Mapping[str, int]) -> list[str]:
    """Return the two tokens of a merge, which a space separates."""
    first, _, second = text.partition(" ")
    if first not in ids or second not in ids or first + second not in ids:
        raise metadata.wrong(f"{PREFIX}merges", f"merges {text[:60]!r}, which are not tokens")
    return [first, second]
