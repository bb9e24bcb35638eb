"""How a tokenizer writes text as tokens: byte-level or with marks for spaces, with what prefix."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from tokenizers import Tokenizer as Backend

Prefix = Literal["none", "first", "every"]
_SHRINK = {"NFC": 3, "NFD": 3, "NFKC": 4, "NFKD": 4}


@dataclass(frozen=True)
class Layout:
    """What of a tokenizer's normalizer, pre-tokenizer and decoder its users need to know."""

    byte_level: bool
    """Tokens are bytes, written by GPT-2's stand-ins; else text, with ``mark`` for spaces."""
    mark: str = ""
    """Character that stands for a space, "▁" where SentencePiece made the vocabulary."""
    byte_fallback: bool = False
    """Tokens ``<0x00>`` to ``<0xFF>`` are bytes."""
    strip: int = 0
    """Spaces that are dropped where a decoded text begins."""
    drops_marks: bool = False
    """All marks of a text's first token are dropped, as the Metaspace decoder does."""
    prefix: Prefix = "none"
    """Where encoding puts a space in front: nowhere, at a text's beginning, or also after each
    special token."""
    shrink: int | None = 1
    """The normalizer makes a text at most so many times shorter, in bytes; None: unknown."""


def layout_of(backend: Backend) -> Layout:
    """Return the layout of a tokenizer that ``check_tokenizer_json`` accepted."""
    normalizers = _parts(backend.normalizer, "normalizers")
    pre_tokenizers = _parts(backend.pre_tokenizer, "pretokenizers")
    decoders = {part["type"]: part for part in _parts(backend.decoder, "decoders")}
    metaspace, replace = decoders.get("Metaspace"), decoders.get("Replace")
    mark: str = metaspace["replacement"] if metaspace else ""
    if replace is not None:
        mark = replace["pattern"]["String"]
    return Layout(
        byte_level="ByteLevel" in decoders,
        mark=mark,
        byte_fallback="ByteFallback" in decoders,
        strip=decoders["Strip"]["start"] if "Strip" in decoders else 0,
        drops_marks=metaspace is not None and metaspace["prepend_scheme"] != "never",
        prefix=_prefix(normalizers, pre_tokenizers),
        shrink=_shrink(normalizers, mark),
    )


def without_prefix(text: str) -> str:
    """Return a ``tokenizer.json`` that puts no space in front of a text.

    Args:
        text: The ``tokenizer.json``, as the library writes it.
    """
    content = json.loads(text)
    for key, within in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")):
        part = content[key]
        if part is None:
            continue
        for each in part.get(within, [part]):
            if each["type"] == "Metaspace":
                each["prepend_scheme"] = "never"
            if each["type"] == "ByteLevel":
                each["add_prefix_space"] = False
        if within in part:
            part[within] = [each for each in part[within] if each["type"] != "Prepend"]
        elif part["type"] == "Prepend":
            content[key] = None
    return json.dumps(content, ensure_ascii=False)


def _prefix(normalizers: list[dict[str, Any]], pre_tokenizers: list[dict[str, Any]]) -> Prefix:
    if any(part["type"] == "Prepend" for part in normalizers):
        return "every"
    for part in pre_tokenizers:
        if part["type"] == "ByteLevel" and part["add_prefix_space"]:
            return "every"
        if part["type"] == "Metaspace":
            schemes: dict[str, Prefix] = {"always": "every", "first": "first", "never": "none"}
            return schemes[part["prepend_scheme"]]
    return "none"


def _shrink(normalizers: list[dict[str, Any]], mark: str) -> int | None:
    """Return how many times shorter normalization can make a text; a mark counts as a space."""
    factor, space = 1, {"String": " "}
    for part in normalizers:
        if part["type"] in _SHRINK:
            factor *= _SHRINK[part["type"]]
        elif part["type"] == "Replace" and (part["pattern"], part["content"]) != (space, mark):
            return None
    return factor


def _parts(component: Any, within: str) -> list[dict[str, Any]]:
    """Return a component of the library as its parts, as they are in ``tokenizer.json``."""
    if component is None:
        return []
    whole: dict[str, Any] = json.loads(component.__getstate__())
    parts: list[dict[str, Any]] = whole.get(within, [whole])
    return parts
