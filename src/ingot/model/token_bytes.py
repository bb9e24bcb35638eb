"""Bytes that each token stands for, whatever way the tokenizer writes them."""

from __future__ import annotations

import re
from collections.abc import Callable

from tokenizers import Tokenizer as Backend

from ingot.model.tokenizer_layout import Layout

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def token_bytes(backend: Backend, layout: Layout) -> tuple[list[bytes], tuple[int, ...]]:
    """Return the bytes of each token by its id, and the ids that no token has.

    A special token stands for no text, and an id without a token for none either: both have no
    bytes.
    """
    vocabulary = backend.get_vocab()
    added = backend.get_added_tokens_decoder()
    table: list[bytes | None] = [None] * (max(vocabulary.values(), default=-1) + 1)
    bytes_of = _byte_level if layout.byte_level else _marked(layout)
    for token, token_id in vocabulary.items():
        if token_id not in added:
            table[token_id] = bytes_of(token)
        elif added[token_id].special:
            table[token_id] = b""
        else:  # as it is in the text, which a byte-level decoder would not give back
            table[token_id] = token.encode() if layout.byte_level else bytes_of(token)
    holes = tuple(index for index, data in enumerate(table) if data is None)
    return [data or b"" for data in table], holes


def byte_alphabet() -> dict[str, int]:
    """Map the printable stand-ins that byte-level BPE writes to the bytes they mean.

    Source: GPT-2's encoder. Printable Latin-1 characters stand for themselves;
    the other bytes take the code points from 256 up, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    stand_ins = {chr(256 + offset): byte for offset, byte in enumerate(others)}
    return stand_ins | {chr(byte): byte for byte in printable}


_ALPHABET = byte_alphabet()


def _byte_level(token: str) -> bytes:
    try:
        return bytes(map(_ALPHABET.__getitem__, token))
    except KeyError:  # the library's decoder writes such a token as it is
        return token.encode()


def _marked(layout: Layout) -> Callable[[str], bytes]:
    """Return the function from a token with marks for spaces to its bytes."""

    def bytes_of(token: str) -> bytes:
        byte = _BYTE.fullmatch(token) if layout.byte_fallback else None
        if byte is not None:
            return bytes([int(byte[1], 16)])
        return (token.replace(layout.mark, " ") if layout.mark else token).encode()

    return bytes_of
