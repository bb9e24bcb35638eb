"""The tokenizer of a GGUF file: ``tokenizer.json``, special tokens, stop tokens, chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ingot.artifact.import_.gguf.byte_level_tokenizer import byte_level_json, read_pretokenizer
from ingot.artifact.import_.gguf.metadata import Metadata
from ingot.artifact.import_.gguf.sentencepiece_tokenizer import sentencepiece_json
from ingot.artifact.import_.gguf.vocabulary import (
    CONTROL,
    ENDS,
    PREFIX,
    Vocabulary,
    read_vocabulary,
)

_TEMPLATE = "tokenizer.chat_template"
_NAMES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
"""Hugging Face's names of special tokens, and the keys of their ids."""
_STOPS = ("eos_token_id", "eot_token_id", "eom_token_id")
_NO_EFFECT = (
    "cls_token_id",
    "mask_token_id",
    "seperator_token_id",
    "add_sep_token",  # between two texts
    "prefix_token_id",
    "suffix_token_id",
    "middle_token_id",
    "fim_pre_token_id",
    "fim_suf_token_id",
    "fim_mid_token_id",
    "fim_pad_token_id",
    "fim_rep_token_id",
    "fim_sep_token_id",
    "token_type_count",
    "pre",  # of a vocabulary with scores
    "scores",  # of one with merges
    "merges",
)


@dataclass(frozen=True)
class GgufTokenizer:
    """What the metadata says about text."""

    tokenizer_json: str
    """As Hugging Face's tokenizers library reads it."""
    names: Mapping[str, str]
    """Texts of the special tokens by Hugging Face's names, such as ``eos_token``."""
    adds_bos: bool
    """Whether ``bos_token`` begins each text that is not made by a template."""
    stop_ids: frozenset[int]
    """Tokens that end an answer."""
    chat_template: str | None
    """Jinja source."""


def read_tokenizer(metadata: Metadata, rows: int) -> GgufTokenizer:
    """Return the tokenizer of a file.

    Args:
        metadata: The file's; keys that are understood are marked in it.
        rows: Rows of the table of embeddings.

    Raises:
        ArtifactError: another kind of tokenizer, or a key that is missing, wrong or not understood.
    """
    key = f"{PREFIX}model"
    kind = metadata.text(key)
    vocabulary = read_vocabulary(metadata, rows)
    if kind == "gpt2":
        if metadata.flag(f"{PREFIX}add_space_prefix", False):
            raise metadata.wrong(f"{PREFIX}add_space_prefix", "is not supported")
        split = read_pretokenizer(metadata)
        content = byte_level_json(metadata, vocabulary, split)
        adds_bos = split.adds_bos
    elif kind == "llama":
        content = sentencepiece_json(metadata, vocabulary)
        adds_bos = True
    else:
        raise metadata.wrong(key, f"{kind[:40]!r} is not supported: only gpt2 and llama are")
    if metadata.flag(f"{PREFIX}add_eos_token", False):
        raise metadata.wrong(f"{PREFIX}add_eos_token", "is not supported unless it is false")
    names = {
        name: vocabulary.tokens[_special(metadata, each, vocabulary)]
        for name, each in _NAMES.items()
        if f"{PREFIX}{each}" in metadata or name == "eos_token"
    }
    adds_bos = metadata.flag(f"{PREFIX}add_bos_token", adds_bos)
    if adds_bos and "bos_token" not in names:
        raise metadata.wrong(f"{PREFIX}bos_token_id", "is missing, though add_bos_token is true")
    stop_ids = _stop_ids(metadata, vocabulary)
    metadata.irrelevant([f"{PREFIX}{each}" for each in _NO_EFFECT])
    metadata.check_all_understood([PREFIX])
    return GgufTokenizer(
        tokenizer_json=json.dumps(content, ensure_ascii=False),
        names=names,
        adds_bos=adds_bos,
        stop_ids=stop_ids,
        chat_template=metadata.text(_TEMPLATE) if _TEMPLATE in metadata else None,
    )


def _special(metadata: Metadata, key: str, vocabulary: Vocabulary) -> int:
    """Return the id that a key gives."""
    number = metadata.integer(f"{PREFIX}{key}")
    if number >= len(vocabulary.tokens):
        raise metadata.wrong(f"{PREFIX}{key}", f"is {number}, which is not a token")
    return number


def _stop_ids(metadata: Metadata, vocabulary: Vocabulary) -> frozenset[int]:
    """Return the tokens that keys name as ends, and the control tokens that are known as such."""
    named = {_special(metadata, key, vocabulary) for key in _STOPS if f"{PREFIX}{key}" in metadata}
    known = {
        number
        for number, (token, kind) in enumerate(
            zip(vocabulary.tokens, vocabulary.kinds, strict=True)
        )
        if kind == CONTROL and token in ENDS
    }
    return frozenset(named | known)
