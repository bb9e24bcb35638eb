from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.inference.request.detokenizer import Detokenizer
from ingot.model import Tokenizer


def cut(text: str, stops: list[str]) -> str:
    """The text up to the stop text that is complete first, the longest of several."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))]
    return text


words = st.text("ab é\n", max_size=30)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), text=words, stops=st.lists(st.text("ab é", min_size=1, max_size=4)))
def test_any_cut_into_tokens_gives_the_same_text(
    tokenizer: Tokenizer, data: st.DataObject, text: str, stops: list[str]
) -> None:
    # Both as the tokenizer would cut it, and byte by byte, through the middle of characters.
    ids = [
        token
        for piece in data.draw(st.permutations([text, text[::-1]]))
        for token in (
            tokenizer.encode(piece)
            if data.draw(st.booleans())
            else [token for byte in piece.encode() for token in one_byte(tokenizer, byte)]
        )
    ]
    whole = cut(tokenizer.decode(ids), stops)
    detokenizer = Detokenizer(tokenizer, stops)
    said = ""
    for token in ids:
        said += detokenizer.push(token)
        assert whole.startswith(said), "a part of a stop text was shown"
        if detokenizer.stopped:
            break
    assert said + detokenizer.flush() == whole
    assert detokenizer.stopped == (whole != tokenizer.decode(ids))


def one_byte(tokenizer: Tokenizer, byte: int) -> list[int]:
    return [
        token
        for token in range(tokenizer.vocab_size)
        if tokenizer.token_bytes(token) == bytes([byte])
    ]


def test_half_a_character_is_held_back_and_dropped_at_the_end(tokenizer: Tokenizer) -> None:
    detokenizer = Detokenizer(tokenizer, [])
    first, second = (one_byte(tokenizer, byte)[0] for byte in "é".encode())
    assert detokenizer.push(first) == ""
    assert detokenizer.push(second) == "é"
    assert detokenizer.push(first) == ""
    assert detokenizer.flush() == ""


def test_a_character_that_the_prompt_begins_is_completed(tokenizer: Tokenizer) -> None:
    first, second = "é".encode()
    detokenizer = Detokenizer(tokenizer, [], opened=bytes([first]))
    assert detokenizer.push(one_byte(tokenizer, second)[0]) == "é"


def test_a_stop_text_may_be_kept(tokenizer: Tokenizer) -> None:
    detokenizer = Detokenizer(tokenizer, ["ab"], keep_stop=True)
    said = [detokenizer.push(one_byte(tokenizer, ord(letter))[0]) for letter in "xab"]
    assert ("".join(said), detokenizer.stopped, detokenizer.flush()) == ("xab", True, "")


def test_a_stop_text_that_ends_too_early_does_not_count(tokenizer: Tokenizer) -> None:
    detokenizer = Detokenizer(tokenizer, ["ab"])
    said = [
        detokenizer.push(one_byte(tokenizer, ord(letter))[0], may_stop=index >= 2)
        for index, letter in enumerate("abab")
    ]
    assert ("".join(said), detokenizer.stopped) == ("ab", True)


@pytest.mark.parametrize(("last", "text"), [("c", "xabac"), ("b", "x")])
def test_what_may_begin_a_stop_text_is_held_back(
    tokenizer: Tokenizer, last: str, text: str
) -> None:
    detokenizer = Detokenizer(tokenizer, ["abab"])
    said = [detokenizer.push(one_byte(tokenizer, ord(letter))[0]) for letter in "xaba" + last]
    assert said[:4] == ["x", "", "", ""]
    assert "".join(said) + detokenizer.flush() == text
