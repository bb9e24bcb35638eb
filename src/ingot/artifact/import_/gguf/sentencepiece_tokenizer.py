"""SentencePiece's BPE of a GGUF file (``tokenizer.ggml.model`` llama) as ``tokenizer.json``.

The file has a score for each token; the pair that makes the token with the highest score is merged
first. ``tokenizer.json`` has a list of merges instead, made as transformers' converter makes it
(``SpmConverter``): each split of a token in two tokens is a merge, by descending score.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.import_.gguf.metadata import Metadata
from ingot.artifact.import_.gguf.vocabulary import BYTE, NORMAL, PREFIX, UNKNOWN, Vocabulary

MARK = "▁"
"""What stands for a space."""
_BYTES = {f"<0x{value:02X}>" for value in range(256)}
_LONGEST = 128  # characters; the time to find the splits grows with its square


def sentencepiece_json(metadata: Metadata, vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the ``tokenizer.json`` of a vocabulary with scores.

    Raises:
        ArtifactError: scores are missing, or there is no token for each byte.
    """
    key = f"{PREFIX}scores"
    scores = metadata.numbers(key)
    if len(scores) != vocabulary.rows or scores.dtype.kind != "f" or not np.isfinite(scores).all():
        raise metadata.wrong(key, "must hold a finite number per token")
    of_bytes = {
        token
        for token, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=True)
        if kind == BYTE
    }
    if of_bytes != _BYTES:
        raise metadata.wrong(
            f"{PREFIX}token_type", "must mark a token for each byte, <0x00> to <0xFF>"
        )
    prefixed = metadata.flag(f"{PREFIX}add_space_prefix", True)
    if metadata.flag(f"{PREFIX}remove_extra_whitespaces", False):
        raise metadata.wrong(f"{PREFIX}remove_extra_whitespaces", "is not supported")
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
    normalizers = [{"type": "Prepend", "prepend": MARK}, spaces] if prefixed else [spaces]
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": MARK}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefixed:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": vocabulary.added(),
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": _unknown(vocabulary),
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary.ids(),
            "merges": _merges(metadata, vocabulary, scores),
        },
    }


def _unknown(vocabulary: Vocabulary) -> str | None:
    for token, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=True):
        if kind == UNKNOWN:
            return token
    return None


def _merges(
    metadata: Metadata, vocabulary: Vocabulary, scores: NDArray[np.generic]
) -> list[list[str]]:
    """Return every split of a token in two, those of the highest score first.

    Ties go by the lengths of the two parts, as in transformers' ``generate_merges``.
    """
    ids = {
        token: number
        for number, (token, kind) in enumerate(
            zip(vocabulary.tokens, vocabulary.kinds, strict=True)
        )
        if kind == NORMAL
    }
    if any(len(token) > _LONGEST for token in ids):
        raise metadata.wrong(f"{PREFIX}tokens", f"holds a token of over {_LONGEST} characters")
    found: list[tuple[float, int, int, str, str]] = []
    for token, number in ids.items():
        splits = [
            (token[:at], token[at:])
            for at in range(1, len(token))
            if token[:at] in ids and token[at:] in ids
        ]
        splits.sort(key=lambda pair: (ids[pair[0]], ids[pair[1]]))
        score = float(scores[number])
        found += [(score, len(first), len(second), first, second) for first, second in splits]
    found.sort(key=lambda each: each[:3], reverse=True)
    return [[first, second] for *_, first, second in found]
