"""The tokens of a GGUF file with their kinds, and which of them are special."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ingot.artifact.import_.gguf.metadata import Metadata

PREFIX = "tokenizer.ggml."
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Kinds of tokens, as SentencePiece numbers them."""

ENDS = frozenset(
    {
        "<|eot_id|>",
        "<|eom_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<end_of_utterance>",
        "</s>",
        "<EOT>",
        "[EOT]",
        "<eos>",
    }
)
"""Control tokens at which llama.cpp ends an answer, whatever the keys say (``llama-vocab.cpp``)."""

_LONGEST_TOKEN = 1024  # characters


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, without those at the end that stand only for rows of the table.

    Those between others that stand for no token are in ``tokens``, and not in ``ids``.
    """

    tokens: list[str]
    kinds: list[int]
    rows: int
    """Ids that the file lists, as many as the table of embeddings has rows."""

    def added(self) -> list[dict[str, Any]]:
        """Return what ``tokenizer.json`` calls added tokens: they are never split or merged.

        Control tokens are special; user-defined ones are text that is one token.
        """
        return [
            {
                "id": number,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": kind != USER_DEFINED,
            }
            for number, (token, kind) in enumerate(zip(self.tokens, self.kinds, strict=True))
            if kind in (UNKNOWN, CONTROL, USER_DEFINED, UNUSED) and not self._is_gap(number)
        ]

    def ids(self) -> dict[str, int]:
        """Return the id of each token."""
        return {
            token: number for number, token in enumerate(self.tokens) if not self._is_gap(number)
        }

    def _is_gap(self, number: int) -> bool:
        """Return whether an id has no token, which llama.cpp's converter writes as one."""
        return self.kinds[number] == UNUSED and self.tokens[number] == f"[PAD{number}]"


def read_vocabulary(metadata: Metadata, rows: int) -> Vocabulary:
    """Return the tokens of a file.

    Args:
        metadata: The file's.
        rows: Rows of the table of embeddings.

    Raises:
        ArtifactError: there are more tokens than rows, a token occurs twice or is empty, or
            the kinds are not those of SentencePiece.
    """
    key = f"{PREFIX}tokens"
    tokens = metadata.texts(key)
    if not 1 <= len(tokens) <= rows:
        raise metadata.wrong(key, f"has {len(tokens)} tokens for {rows} rows of the table")
    if f"{PREFIX}token_type" in metadata:
        kinds = metadata.numbers(f"{PREFIX}token_type")
        within = kinds.dtype.kind in "iu" and len(kinds) == len(tokens)
        if not within or not np.isin(kinds, range(NORMAL, BYTE + 1)).all():
            raise metadata.wrong(f"{PREFIX}token_type", "must hold a number from 1 to 6 per token")
        of_each = [int(kind) for kind in kinds]
    else:
        of_each = [NORMAL] * len(tokens)
    used = len(tokens)
    while used > 1 and of_each[used - 1] == UNUSED:  # rows without a token
        used -= 1
    vocabulary = Vocabulary(tokens[:used], of_each[:used], len(tokens))
    if len(set(vocabulary.tokens)) != used:
        raise metadata.wrong(key, "holds a token twice")
    if not all(0 < len(token) <= _LONGEST_TOKEN for token in vocabulary.tokens):
        raise metadata.wrong(
            key, f"holds a token that is empty or over {_LONGEST_TOKEN} characters"
        )
    return vocabulary
