from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ingot
from ingot.errors import ArtifactError
from ingot.model import StreamDecoder, Tokenizer
from ingot.model.tokenizer import END_OF_TEXT, SMALLEST_VOCABULARY

TEXTS = [path.read_text() for path in sorted(Path(ingot.__file__).parent.rglob("*.py"))[:10]]
TOKENIZER = Tokenizer.train(TEXTS, 512)


def test_it_learns_the_vocabulary_asked_for() -> None:
    assert TOKENIZER.vocab_size == 512
    plain = Tokenizer.train(TEXTS, SMALLEST_VOCABULARY)
    assert len(TOKENIZER.encode(TEXTS[0])) < 0.6 * len(plain.encode(TEXTS[0]))


@given(st.text())
def test_any_text_survives_the_round_trip(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.lists(st.text(), max_size=5))
def test_a_batch_is_each_text_alone(texts: list[str]) -> None:
    assert TOKENIZER.encode_batch(texts) == [TOKENIZER.encode(text) for text in texts]


@settings(max_examples=300)
@given(st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=30))
def test_streamed_text_is_the_decoded_text(ids: list[int]) -> None:
    decoder = StreamDecoder(TOKENIZER)
    pieces = [decoder.push(token) for token in ids]
    assert "".join(pieces) + decoder.flush() == TOKENIZER.decode(ids)


def test_a_character_is_never_cut_in_two() -> None:
    decoder = StreamDecoder(TOKENIZER)
    ids = TOKENIZER.encode("naïve 😀 日本")
    pieces = [decoder.push(token) for token in ids]
    assert "\ufffd" not in "".join(pieces)
    assert "".join(pieces) == "naïve 😀 日本"


def test_a_prompt_cannot_smuggle_in_the_end_of_text() -> None:
    ids = TOKENIZER.encode(f"before {END_OF_TEXT} after")
    assert TOKENIZER.eos_id not in ids
    assert TOKENIZER.decode(ids) == f"before {END_OF_TEXT} after"


def test_json_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(TOKENIZER.to_json())
    again = Tokenizer.from_file(path)
    assert again.encode(TEXTS[0]) == TOKENIZER.encode(TEXTS[0])
    assert again.eos_id == TOKENIZER.eos_id


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"model": 3}', "\x00"])
def test_what_is_no_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        Tokenizer.from_json(text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"absent\.json"):
        Tokenizer.from_file(tmp_path / "absent.json")


def test_control_tokens_are_named() -> None:
    assert TOKENIZER.special_tokens == {END_OF_TEXT: TOKENIZER.eos_id}


@given(st.text())
def test_no_text_has_fewer_tokens_than_said(text: str) -> None:
    """FAULTS A4: a text can be refused by its length."""
    least = TOKENIZER.least_tokens(text)
    assert least <= len(TOKENIZER.encode(text))
    assert least * TOKENIZER.longest_token >= len(text.encode())
