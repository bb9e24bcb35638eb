"""Pattern that cuts text into words, each of which becomes tokens by itself."""

from __future__ import annotations

from tokenizers import Regex, pre_tokenizers

LONGEST_RUN = 128
"""Longest run of letters, of punctuation or of white space that training counts as one word."""


def split_pattern(longest_run: int | None = None) -> str:
    """Return the pattern.

    Words with their leading space, digits in threes, runs of white space: GPT-4's split
    pattern, in which no token crosses from a word into punctuation. ``word_splitter.cpp`` of the
    native core does the same.

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
