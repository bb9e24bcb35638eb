"""UTF-8 over tokens: which tokens may follow, so that an answer never holds half a character.

A byte-level tokenizer can write any bytes. The states are those of a decoder between two
bytes (Unicode 15, table 3-7, "Well-Formed UTF-8 Byte Sequences"): between characters, one,
two or three bytes short of a character, or after one of four leading bytes whose next byte
has a smaller range.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ingot.model.tokenizer import Tokenizer

START = 0
"""Between two characters."""
INVALID = 255
"""What follows is not UTF-8."""
_ONE, _TWO, _THREE, _E0, _ED, _F0, _F4 = range(1, 8)
_STATES = 8
_LONGEST = 4  # bytes of a character
_FIRST_LEADING = 0xC0


def _steps() -> list[bytes]:
    """Return for each state the state after each byte."""
    table = [bytearray([INVALID] * 256) for _ in range(_STATES)]

    def add(state: int, first: int, last: int, following: int) -> None:
        for byte in range(first, last + 1):
            table[state][byte] = following

    add(START, 0x00, 0x7F, START)
    add(START, 0xC2, 0xDF, _ONE)
    add(START, 0xE1, 0xEF, _TWO)
    add(START, 0xE0, 0xE0, _E0)
    add(START, 0xED, 0xED, _ED)
    add(START, 0xF1, 0xF3, _THREE)
    add(START, 0xF0, 0xF0, _F0)
    add(START, 0xF4, 0xF4, _F4)
    add(_ONE, 0x80, 0xBF, START)
    add(_TWO, 0x80, 0xBF, _ONE)
    add(_THREE, 0x80, 0xBF, _TWO)
    add(_E0, 0xA0, 0xBF, _ONE)  # lower ones would be overlong
    add(_ED, 0x80, 0x9F, _ONE)  # higher ones would be surrogates
    add(_F0, 0x90, 0xBF, _TWO)  # lower ones would be overlong
    add(_F4, 0x80, 0x8F, _TWO)  # higher ones would be past U+10FFFF
    return [bytes(row) for row in table]


_STEPS = _steps()


class Utf8Tables:
    """For each state, the tokens that may follow and the state after each; shared by sequences.

    A token without bytes, such as the end of the text, may follow a whole character only. A
    character that the vocabulary cannot complete may not be begun.

    Args:
        tokenizer: The tokenizer of the model.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        table = _transitions(tokenizer)
        _remove_dead_ends(table)
        self.states_after = [row.tobytes() for row in table]
        """The state after each token, for each state; bytes, because arrays are slower to read."""
        self.masks = [_packed(row != INVALID) for row in table]
        """For each state the tokens that may follow: bit ``i % 32`` of word ``i // 32``."""
        exists = np.ones(tokenizer.vocab_size, np.bool_)
        exists[list(tokenizer.holes)] = False
        self.everything = _packed(exists)
        """The mask of all tokens; ids that no token has are in no mask."""
        self._bytes = tokenizer.token_bytes

    def after(self, state: int, token_id: int) -> int:
        """Return the state after a token, or ``INVALID``."""
        following: int = self.states_after[state][token_id]
        return following

    def after_prompt(self, prompt_ids: tuple[int, ...]) -> tuple[int, bytes]:
        """Return the state at the end of a prompt, and the bytes of a character it leaves open."""
        tail = b""
        for token_id in reversed(prompt_ids):
            text = self._bytes(token_id)
            tail = text + tail
            if not text or len(tail) >= _LONGEST:
                break
        for length in range(1, min(len(tail) + 1, _LONGEST)):
            if tail[-length] >= _FIRST_LEADING:
                state = _walk(START, tail[-length:])
                return (START, b"") if state == INVALID else (state, tail[-length:])
        return START, b""


def _transitions(tokenizer: Tokenizer) -> NDArray[np.uint8]:
    """Return the state after each token (states, tokens)."""
    size = tokenizer.vocab_size
    table = np.full((_STATES, size), INVALID, np.uint8)
    broken: list[int] = []
    whole: list[int] = []
    holes = frozenset(tokenizer.holes)  # these may never follow
    for token_id, text in enumerate(tokenizer.table):
        if token_id in holes:
            continue
        # Nearly all tokens are whole characters; the few others are followed byte by byte.
        (whole if text.isascii() or _is_utf8(text) else broken).append(token_id)
    table[START, whole] = START
    for token_id in broken:
        text = tokenizer.token_bytes(token_id)
        for state in range(_STATES):
            table[state, token_id] = _walk(state, text)
    return table


def _remove_dead_ends(table: NDArray[np.uint8]) -> None:
    """Forbid tokens after which no sequence of tokens completes the character."""
    alive = {START}
    while True:
        more = {
            state
            for state in range(_STATES)
            if state in alive or np.isin(table[state], list(alive)).any()
        }
        if more == alive:
            break
        alive = more
    table[~np.isin(table, list(alive))] = INVALID


def _walk(state: int, text: Iterable[int]) -> int:
    for byte in text:
        if state == INVALID:
            break
        state = _STEPS[state][byte]
    return state


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _packed(allowed: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return a mask of the tokens that are true."""
    bits = np.zeros(-(-allowed.size // 32) * 32, np.bool_)
    bits[: allowed.size] = allowed
    mask = np.packbits(bits, bitorder="little").view(np.uint32)
    mask.flags.writeable = False
    return mask
