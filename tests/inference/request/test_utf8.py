from __future__ import annotations

import codecs

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.inference.request.utf8 import INVALID, START, Utf8Tables
from ingot.model import Tokenizer


@pytest.fixture(scope="module")
def tables(tokenizer: Tokenizer) -> Utf8Tables:
    return Utf8Tables(tokenizer)


@pytest.fixture(scope="module")
def one_byte(tokenizer: Tokenizer) -> dict[int, int]:
    """Token ids of the tokens of one byte, by byte."""
    found = {tokenizer.token_bytes(one): one for one in range(tokenizer.vocab_size)}
    return {byte: found[bytes([byte])] for byte in range(256)}


class Bytes:
    """A tokenizer with these tokens."""

    def __init__(self, *tokens: bytes) -> None:
        self.table, self.vocab_size, self.holes = tokens, len(tokens), ()

    def token_bytes(self, token_id: int) -> bytes:
        return self.table[token_id]


def follow(tables: Utf8Tables, ids: list[int], state: int = START) -> int:
    for token_id in ids:
        if (state := tables.after(state, token_id)) == INVALID:
            break
    return state


@settings(max_examples=400, deadline=None)
@given(st.binary(min_size=1, max_size=6))
def test_bytes_are_followed_exactly_as_pythons_decoder_does(
    tables: Utf8Tables, one_byte: dict[int, int], text: bytes
) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(text)
        wanted = "between" if decoder.getstate()[0] == b"" else "within"
    except UnicodeDecodeError:
        wanted = "invalid"
    state = follow(tables, [one_byte[byte] for byte in text])
    got = {START: "between", INVALID: "invalid"}.get(state, "within")
    # Python's decoder sees some errors one byte later than they are certain, never earlier.
    assert got == wanted or (got == "invalid" and not _can_be_completed(text))


def _can_be_completed(text: bytes) -> bool:
    ends = [b"", *(bytes([byte]) for byte in range(0x80, 0xC0))]
    ends += [a + b for a in ends[1:] for b in ends[1:]]
    ends += [bytes([byte, 0x80, 0x80]) for byte in range(0x80, 0xC0)]
    return any(_is_utf8(text + end) for end in ends)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("text", ["a", "é", "你", "😀", "\ud7ff", "\ue000", "\U0010ffff", "\x00"])
def test_every_character_ends_between_two(
    tables: Utf8Tables, one_byte: dict[int, int], text: str
) -> None:
    *begun, _ = ids = [one_byte[byte] for byte in text.encode()]
    assert follow(tables, ids) == START
    assert begun == [] or follow(tables, begun) not in (START, INVALID)


def test_masks_agree_with_the_states(tables: Utf8Tables, tokenizer: Tokenizer) -> None:
    for state, mask in enumerate(tables.masks):
        bits = np.unpackbits(mask.view(np.uint8), bitorder="little")
        assert not bits[tokenizer.vocab_size :].any()
        for token_id in range(tokenizer.vocab_size):
            assert bits[token_id] == (tables.after(state, token_id) != INVALID)


def test_the_end_of_the_text_may_only_follow_a_whole_character(
    tables: Utf8Tables, one_byte: dict[int, int], tokenizer: Tokenizer
) -> None:
    assert tables.after(START, tokenizer.eos_id) == START
    assert follow(tables, [one_byte[0xE4], tokenizer.eos_id]) == INVALID


def test_a_character_that_no_token_completes_is_not_begun() -> None:
    tables = Utf8Tables(Bytes(b"a", b"\xe4", b"\xbd", b"\xc3", b"\xf0\x9f"))  # type: ignore[arg-type]
    assert [tables.after(START, one) for one in range(5)].count(INVALID) == 1
    assert tables.after(START, 4) != INVALID, "\\xbd completes it, twice"
    bare = Utf8Tables(Bytes(b"a", b"\xe4", b"a\xc3"))  # type: ignore[arg-type]
    assert [bare.after(START, one) for one in range(3)] == [START, INVALID, INVALID]


@pytest.mark.parametrize(
    ("text", "opened"),
    [
        (b"abc", b""),
        (b"ab\xe4", b"\xe4"),
        (b"a\xe4\xbd", b"\xe4\xbd"),
        (b"\xf0\x9f\x98", b"\xf0\x9f\x98"),
        (b"\xf0\x9f\x98\x80", b""),
        (b"a\xbd\xbd", b""),
        (b"a\xff", b""),
        (b"a\xe4\xe4", b"\xe4"),
        (b"\xe0\x80", b""),
    ],
)
def test_a_prompt_may_end_within_a_character(
    tables: Utf8Tables, one_byte: dict[int, int], text: bytes, opened: bytes
) -> None:
    state, found = tables.after_prompt(tuple(one_byte[byte] for byte in text))
    assert found == opened
    assert (state == START) == (opened == b"")


def test_the_end_of_a_text_within_a_prompt_ends_its_character_too(
    tables: Utf8Tables, one_byte: dict[int, int], tokenizer: Tokenizer
) -> None:
    assert tables.after_prompt((one_byte[0xE4], tokenizer.eos_id)) == (START, b"")
