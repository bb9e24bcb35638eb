"""Training of a byte-level BPE vocabulary in bounded time and memory, whatever the text.

Time grows with the square of the longest word and memory with the distinct words: 20,000 letters
without a space, or 16 MB of different identifiers, are enough to notice. Both are bounded here;
text of ordinary words gives the same merges as without the bounds. The native core gives the
merges of the tokenizers' library; where the core is missing the library itself trains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

from ingot.model.native_bpe import train_merges
from ingot.model.split_pattern import LONGEST_RUN, split_pattern, splitter
from ingot.model.text_pieces import text_pieces

DISTINCT_BYTES = 4 << 20
"""Bytes of distinct words at which no more text is read; training takes some 80 times as much."""

_CORE_BYTES = 8 << 20  # the same for the core, to which a word with a space in front is another one
_PIECE = 1 << 16  # the library takes some 150 times the memory of each text that it splits
# The words of ``split_pattern``, nearly; a set of these tells how much memory training takes.
_WORDS = re.compile(r"[^\W\d_]+|[^\w\s]+|_+")


def train_bpe(texts: Iterable[str], vocab_size: int, *, special: str) -> Tokenizer:
    """Train a vocabulary of at most ``vocab_size`` tokens, one of them ``special``.

    Reads ``texts`` in order until their distinct words fill the memory that training may take.
    """
    tokens = [special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pieces = (piece for text in texts for piece in text_pieces(text, _PIECE))
    merges = train_merges(pieces, vocabulary, vocab_size, _CORE_BYTES)
    if merges is None:
        return train_by_library(pieces, vocab_size, special=special)
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    backend = Tokenizer(BPE(vocabulary, merges))
    backend.add_special_tokens([AddedToken(special, special=True, normalized=False)])
    backend.decoder = decoders.ByteLevel()
    backend.pre_tokenizer = splitter(split_pattern())
    return backend


def train_by_library(pieces: Iterable[str], vocab_size: int, *, special: str) -> Tokenizer:
    """Train as ``train_bpe`` does, by the library; ``pieces`` are texts of at most 64 Ki."""
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = splitter(split_pattern(LONGEST_RUN))
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_bounded(pieces), trainer)
    # Only training needs the bound: encoding takes n log n for a word of n bytes.
    backend.pre_tokenizer = splitter(split_pattern())
    return backend


def _bounded(pieces: Iterable[str]) -> Iterator[str]:
    """Yield texts until their distinct words would take too much memory."""
    seen: set[str] = set()
    size = 0
    for piece in pieces:
        if size >= DISTINCT_BYTES:
            return
        new = {run for word in set(_WORDS.findall(piece)) for run in _runs(word)} - seen
        seen |= new
        size += sum(len(run) if run.isascii() else len(run.encode()) for run in new)
        yield piece


def _runs(word: str) -> list[str]:
    if len(word) <= LONGEST_RUN:
        return [word]
    return [word[start : start + LONGEST_RUN] for start in range(0, len(word), LONGEST_RUN)]
