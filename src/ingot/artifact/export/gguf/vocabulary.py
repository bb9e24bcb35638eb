"""A tokenizer as GGUF metadata: what llama.cpp needs to cut text into the same tokens.

llama.cpp names the splitting of text into words (``tokenizer.ggml.pre``) and knows only the names
in its source; its converter recognizes published vocabularies alone. Here the name follows from
the split pattern, so a vocabulary that was trained on anyone's text works.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ingot.artifact.export.gguf.sentencepiece import sentencepiece_keys
from ingot.artifact.export.gguf.writer import MetadataValue
from ingot.artifact.export.small_files import SmallFiles
from ingot.errors import UsageError
from ingot.model.split_pattern import split_pattern

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6

_A_BYTE = re.compile(r"<0x[0-9A-F]{2}>").fullmatch

_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_SHORT}|{_LETTERS}|\p{{N}}{{1,3}}|{_REST}"
_QWEN2 = rf"{_SHORT}|{_LETTERS}|\p{{N}}|{_REST}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORD = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+"
_NAME = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT4O = rf"{_WORD}{_SHORT}?|{_NAME}{_SHORT}?|\p{{N}}{{1,3}}|{_SLASH}"
_TEKKEN = rf"{_WORD}|{_NAME}|\p{{N}}|{_SLASH}"

# (split pattern, whether a word that is a token is taken without merging) to llama.cpp's name.
# Ingot's own pattern is Llama 3's, spelt otherwise.
_SPLITS = {
    (split_pattern(), False): "smaug-bpe",
    (_LLAMA3, False): "smaug-bpe",
    (_LLAMA3, True): "llama-bpe",
    (_QWEN2, False): "qwen2",
    (_GPT4O, False): "gpt-4o",
    (_TEKKEN, True): "tekken",
}


def vocabulary(small: SmallFiles, rows: int) -> tuple[dict[str, MetadataValue], tuple[str, ...]]:
    """Return the ``tokenizer.*`` keys, and what llama.cpp does otherwise.

    Args:
        small: The ingot's tokenizer and its special tokens.
        rows: Rows of the embedding table. Rows without a token get one that is never used.

    Raises:
        UsageError: llama.cpp has no tokenizer that cuts text as this one does.
    """
    content = small.tokenizer
    texts, kinds = _tokens(content, rows)
    normal = {text for text, kind in zip(texts, kinds, strict=True) if kind == _NORMAL}
    splitting, notes = sentencepiece_keys(content, texts, normal) or _byte_level_keys(content)
    keys: dict[str, MetadataValue] = {
        **splitting,
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.add_bos_token": bool(small.tokenizer_config.get("add_bos_token", False)),
        "tokenizer.chat_template": small.chat_template,
    }
    return keys | _special_tokens(small), notes


def _byte_level_keys(
    content: Mapping[str, Any],
) -> tuple[dict[str, MetadataValue], tuple[str, ...]]:
    """Return the keys of byte-level BPE, and what llama.cpp does otherwise."""
    merges = content["model"]["merges"]
    pre, notes = _pre_tokenizer(content)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.merges": [m if isinstance(m, str) else " ".join(m) for m in merges],
    }, notes


def _special_tokens(small: SmallFiles) -> dict[str, MetadataValue]:
    """Return the ids of special tokens; llama.cpp would suppose GPT-2's otherwise."""
    first, *others = small.eos_ids
    keys: dict[str, MetadataValue] = {"tokenizer.ggml.eos_token_id": first}
    for key, token in zip(("eot_token_id", "eom_token_id"), others, strict=False):
        keys[f"tokenizer.ggml.{key}"] = token
    for key, name in (("bos_token_id", "bos_token_id"), ("padding_token_id", "pad_token_id")):
        given = small.special_ids.get(name)
        keys[f"tokenizer.ggml.{key}"] = first if given is None else given
    return keys


def _tokens(content: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """Return text and type of every row's token, by its id."""
    texts = [f"[PAD{row}]" for row in range(rows)]
    kinds = [_UNUSED] * rows
    falls_back = bool(content["model"].get("byte_fallback"))
    for text, token in content["model"]["vocab"].items():
        texts[token], kinds[token] = text, _BYTE if falls_back and _A_BYTE(text) else _NORMAL
    for added in content["added_tokens"]:
        token = added["id"]
        texts[token] = added["content"]
        kinds[token] = _CONTROL if added.get("special") else _USER_DEFINED
        if falls_back and added["content"] == content["model"].get("unk_token"):
            kinds[token] = _UNKNOWN
    return texts, kinds


def _pre_tokenizer(content: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return llama.cpp's name of how text is split into words."""
    normalizer = (content.get("normalizer") or {}).get("type")
    if normalizer not in (None, "NFC") or content["model"].get("byte_fallback"):
        raise _unknown("it does not normalize text as this tokenizer does")
    notes = ("llama.cpp does not compose characters (NFC) before it splits text.",)
    steps = content.get("pre_tokenizer") or {}
    parts = steps.get("pretokenizers", [steps])
    name = _name_of(parts, bool(content["model"].get("ignore_merges")))
    if name is None:
        raise _unknown("it does not split text as this tokenizer does")
    return name, notes if normalizer else ()


def _name_of(parts: list[Mapping[str, Any]], ignore_merges: bool) -> str | None:
    kinds = [part.get("type") for part in parts]
    if kinds[-1:] != ["ByteLevel"] or parts[-1].get("add_prefix_space", True):
        return None
    splits_again = parts[-1].get("use_regex", True)
    if kinds == ["ByteLevel"] and splits_again:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and splits_again and parts[0].get("individual_digits"):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not splits_again:
        pattern = parts[0]["pattern"].get("Regex")
        return _SPLITS.get((pattern, ignore_merges))
    return None


def _unknown(why: str) -> UsageError:
    return UsageError(
        f"llama.cpp cannot run this model: {why}", where="--to", fix="export it with --to hf"
    )
