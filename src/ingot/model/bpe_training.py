"""Training of a byte-level BPE vocabulary in bounded time and memory, whatever the text.

The library's time is quadratic in the longest word and its memory grows with the distinct
words: 20,000 letters without a space, or 16 MB of different identifiers, are enough to notice.
Both are bounded here; text of ordinary words gives the same merges as without the bounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

from ingot.model.text_pieces import text_pieces

LONGEST_RUN = 128
"""Longest run of letters, of punctuation or of white space that training counts as one word."""
DISTINCT_BYTES = 4 << 20
"""Bytes of distinct words at which no more text is read; training takes some 80 times as much."""

_PIECE = 1 << 16  # the library takes some 150 times the memory of each text that it splits
# The words of ``split_pattern``, nearly; a set of these tells how much memory training takes.
_WORDS = re.compile(r"[^\W\d_]+|[^\w\s]+|_+")


def split_pattern(longest_run: int | None = None) -> str:
    """Return the pattern that cuts text into words, each of which becomes tokens by itself.

    Words with their leading space, digits in threes, runs of white space: GPT-4's split
    pattern, in which no token crosses from a word into punctuation.

    Args:
        longest_run: Cut longer runs into runs of this length; None leaves them whole.
    """
    some, any_ = (f"{{1,{longest_run}}}", f"{{0,{longest_run}}}") if longest_run else ("+", "*")
    return (
        rf"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}{some}|\p{{N}}{{1,3}}"
        rf"| ?[^\s\p{{L}}\p{{N}}]{some}[\r\n]{any_}|\s{any_}[\r\n]|\s{some}(?!\S)|\s{some}"
    )


def splitter(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Return the pre-tokenizer of a pattern, over bytes."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def train_bpe(texts: Iterable[str], vocab_size: int, *, special: str) -> Tokenizer:
    """Train a vocabulary of at most ``vocab_size`` tokens, one of them ``special``.

    Reads ``texts`` in order until their distinct words have ``DISTINCT_BYTES``.
    """
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = splitter(split_pattern(LONGEST_RUN))
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_bounded(texts), trainer)
    # Only training needs the bound: encoding takes n log n for a word of n bytes.
    backend.pre_tokenizer = splitter(split_pattern())
    return backend


def _bounded(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts in pieces, until their distinct words would take too much memory."""
    seen: set[str] = set()
    size = 0
    for text in texts:
        for piece in text_pieces(text, _PIECE):
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
