"""Encoding and training of byte-level BPE by the native core, with the ids of the library."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, pre_tokenizers

from ingot.model.split_pattern import LONGEST_RUN, split_pattern
from ingot.model.token_bytes import byte_alphabet

try:
    from ingot import native
except ImportError:  # installed without the native core: the library does it
    native = None  # type: ignore[assignment]

CACHE_BYTES = 32 << 20
"""Most memory of the words that each thread of an encoder remembers."""

_UNBOUNDED = 1 << 62
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Llama 3's spelling and Qwen's; ``\s*[\r\n]+`` ends where ``\s*[\r\n]`` does.
_MOST_DIGITS: dict[str, int] = {
    split_pattern(): 3,
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}": 3,
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}": 1,
}
# What a model must not do, or must do in a way that changes nothing.
_MODEL: dict[str, tuple[object, ...]] = {
    "type": ("BPE",),
    "dropout": (None, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (False,),
    "ignore_merges": (False,),
}

Ids = NDArray[np.uint32]


class NativeEncoder:
    """The encoder of one tokenizer in the native core."""

    def __init__(self, byte_ids: Ids, merges: Ids, most_digits: int) -> None:
        self._core = native.BpeEncoder(
            byte_ids=byte_ids, merges=merges, most_digits=most_digits, cache_bytes=CACHE_BYTES
        )

    def encode(self, texts: Sequence[str]) -> tuple[Ids, NDArray[np.int64]]:
        """Return the ids of all texts (tokens,), and where those of each end (texts,).

        Raises:
            UnicodeEncodeError: a text holds half a surrogate pair.
        """
        return self._core.encode(list(texts))


def native_encoder(backend: Tokenizer) -> NativeEncoder | None:
    """Return an encoder that gives the same ids as the library; None if there is none.

    Special tokens that are written out in a text are plain text to it. It knows byte-level BPE
    without a normalizer and with one of three split patterns: Ingot's, Llama 3's and Qwen's. The
    core is also not used where it classifies characters otherwise than this version of the library.
    """
    if native is None or backend.normalizer is not None:
        return None
    added = backend.get_added_tokens_decoder().values()
    most_digits = _most_digits(backend.pre_tokenizer)
    if most_digits is None or not all(token.special for token in added) or not _splits_alike():
        return None
    return _make(json.loads(backend.to_str()), most_digits)


def _most_digits(pre_tokenizer: Any) -> int | None:
    """Return the most digits of a word if the pre-tokenizer is one that the core knows."""
    if pre_tokenizer is None:
        return None
    content = json.loads(pre_tokenizer.__getstate__())
    parts = content.get("pretokenizers", ())
    if len(parts) != 2:
        return None
    split, level = parts
    known = (
        split["type"] == "Split"
        and split["behavior"] == "Isolated"
        and not split["invert"]
        and level["type"] == "ByteLevel"
        and not level["add_prefix_space"]
        and not level["use_regex"]
    )
    return _MOST_DIGITS.get(split["pattern"].get("Regex", "")) if known else None


def _make(content: Mapping[str, Any], most_digits: int) -> NativeEncoder | None:
    model = content["model"]
    if content.get("truncation") or content.get("padding"):
        return None
    if any(model.get(name, known[0]) not in known for name, known in _MODEL.items()):
        return None
    vocabulary: dict[str, int] = model["vocab"]
    try:
        byte_ids = _byte_ids(vocabulary)
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        rows = [(vocabulary[a], vocabulary[b], vocabulary[a + b]) for a, b in pairs]
    except KeyError:  # the vocabulary lacks a byte, so the library leaves it out
        return None
    return NativeEncoder(byte_ids, np.array(rows, np.uint32).reshape(-1, 3), most_digits)


def _byte_ids(vocabulary: Mapping[str, int]) -> Ids:
    ids = np.zeros(256, np.uint32)
    for stand_in, byte in byte_alphabet().items():
        ids[byte] = vocabulary[stand_in]
    return ids


@lru_cache(maxsize=1)
def _splits_alike() -> bool:
    """Return whether the core splits as this version of the library does.

    The classes of characters grow with each version of Unicode, so those at the borders of classes
    are tried: each between letters and between commas.
    """
    characters = map(chr, native.class_borders())
    text = "".join(f"a{each}a,{each}," for each in characters if not _half(each))
    split = pre_tokenizers.Split(Regex(split_pattern()), behavior="isolated")
    ends = native.split_words(text, most_digits=3, longest_run=_UNBOUNDED)
    found: list[int] = ends.tolist()
    return found == _ends(piece for piece, _ in split.pre_tokenize_str(text))


def _half(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def _ends(words: Iterable[str]) -> list[int]:
    """Return where each word ends, in bytes."""
    lengths = [len(word.encode()) for word in words]
    ends: list[int] = np.cumsum(lengths).tolist()
    return ends


def train_merges(
    pieces: Iterable[str], vocabulary: Mapping[str, int], vocab_size: int, distinct_bytes: int
) -> list[tuple[str, str]] | None:
    """Return the merges that the library learns from texts, in order; None without the core.

    Args:
        pieces: Texts; read until their distinct words have ``distinct_bytes``.
        vocabulary: The tokens without merges: every byte and the special ones.
        vocab_size: Most tokens of the whole vocabulary.
        distinct_bytes: Bounds the memory.
    """
    if native is None or not _splits_alike():
        return None
    counts = native.WordCounts(
        most_digits=3, longest_run=LONGEST_RUN, distinct_bytes=distinct_bytes
    )
    for piece in pieces:
        if not counts.add(piece):
            break
    rows = counts.merges(
        byte_ids=_byte_ids(vocabulary), tokens=len(vocabulary), vocab_size=vocab_size
    )
    texts = {token_id: token for token, token_id in vocabulary.items()}
    merges = []
    for left, right, made in rows.tolist():
        merges.append((texts[left], texts[right]))
        texts[made] = texts[left] + texts[right]
    return merges
