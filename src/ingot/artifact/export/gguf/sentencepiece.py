"""Vocabularies that SentencePiece made (Llama 2, Mistral, Phi-3, Gemma), as llama.cpp reads them.

``tokenizer.json`` has their merges in order; llama.cpp has a score for each token, and joins the
two neighbours whose joint text has the highest. Both cut text alike if every split of a token
into two others is a merge, and the merges of one token follow each other, as transformers
writes them when it converts such a vocabulary. That is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingot.artifact.export.gguf.writer import MetadataValue
from ingot.errors import UsageError

_MARK = "▁"
_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": _MARK}
_PREFIX = {"type": "Prepend", "prepend": _MARK}


def sentencepiece_keys(
    content: Mapping[str, Any], texts: list[str], normal: set[str]
) -> tuple[dict[str, MetadataValue], tuple[str, ...]] | None:
    """Return the keys of such a tokenizer and what llama.cpp does otherwise; None of another kind.

    Args:
        content: ``tokenizer.json``.
        texts: The text of each token, by its id.
        normal: The texts of tokens that are not special, added, bytes or unused.

    Raises:
        UsageError: llama.cpp would cut text otherwise.
    """
    model = content["model"]
    prefix = _space_prefix(content)
    if not model.get("byte_fallback") or prefix is None:
        return None
    ranks = _ranks(model["merges"], normal)
    worst = -float(len(model["merges"]) + 1)
    scheme = (content.get("pre_tokenizer") or {}).get("prepend_scheme")
    notes = ("llama.cpp puts a space after every special token, too.",) if scheme == "first" else ()
    unknown = model.get("unk_token")
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.scores": [
            -float(ranks[text]) if text in ranks else worst for text in texts
        ],
        "tokenizer.ggml.add_space_prefix": prefix,
        "tokenizer.ggml.remove_extra_whitespaces": False,
        **({"tokenizer.ggml.unknown_token_id": texts.index(unknown)} if unknown in texts else {}),
    }, notes


def _space_prefix(content: Mapping[str, Any]) -> bool | None:
    """Tell whether a space is put in front of a text; None if spaces are written otherwise."""
    normalizer, split = content.get("normalizer"), content.get("pre_tokenizer")
    parts = [] if normalizer is None else normalizer.get("normalizers", [normalizer])
    if split is not None and split.get("type") == "Metaspace" and not parts:
        whole = split.get("replacement") == _MARK and split.get("split") is False
        scheme = split.get("prepend_scheme", "always")
        return {"always": True, "first": True, "never": False}.get(scheme) if whole else None
    # Gemma splits at spaces that are no longer there.
    if split is not None and split.get("pattern") != {"String": " "}:
        return None
    if parts == [_PREFIX, _SPACES]:
        return True
    return False if parts == [_SPACES] else None


def _ranks(merges: list[Any], normal: set[str]) -> dict[str, int]:
    """Return the rank at which each token is made.

    Raises:
        UsageError: scores cannot say the same as these merges.
    """
    pairs = [tuple(each.split(" ", 1) if isinstance(each, str) else each) for each in merges]
    known, last = set(pairs), ""
    first: dict[str, int] = {}
    for rank, (left, right) in enumerate(pairs):
        made = left + right
        if made in first and made != last:
            raise _otherwise()
        first.setdefault(made, rank)
        last = made
    for text in normal:
        splits = [(text[:end], text[end:]) for end in range(1, len(text))]
        if any(a in normal and b in normal and (a, b) not in known for a, b in splits):
            raise _otherwise()
    return first


def _otherwise() -> UsageError:
    return UsageError(
        "llama.cpp cannot run this model: scores of tokens cannot stand for its merges",
        where="--to",
        fix="export it with --to hf",
    )
