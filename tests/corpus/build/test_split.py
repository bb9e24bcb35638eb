from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.corpus import Document
from ingot.corpus.build.split import SplitCensus, is_held_out, split_document, tail_start


def document(text: str) -> Document:
    data = text.encode()
    return Document(text, "test", hashlib.sha256(data).digest(), len(data))


def test_about_the_fraction_is_held_out_by_hash() -> None:
    documents = [document(f"document {number}") for number in range(4000)]
    held_out = sum(is_held_out(each, 0.1) for each in documents)
    assert 330 < held_out < 470


def test_a_larger_fraction_only_adds_documents() -> None:
    documents = [document(f"document {number}") for number in range(500)]
    few = {each.text for each in documents if is_held_out(each, 0.1)}
    many = {each.text for each in documents if is_held_out(each, 0.3)}
    assert few < many


@pytest.mark.parametrize(
    ("train", "validation", "mode"),
    [
        (980, 20, "hash"),
        (1000, 0, "tail"),
        (0, 1000, "tail"),
        (998, 2, "tail"),  # a tenth of what was asked for
        (500, 500, "tail"),  # 25 times what was asked for
        (925, 75, "hash"),
    ],
)
def test_the_mode_follows_what_the_hash_holds_out(train: int, validation: int, mode: str) -> None:
    assert SplitCensus(0.02, train, validation).mode() == mode


def test_a_census_counts_bytes_by_side() -> None:
    census = SplitCensus(0.5)
    documents = [document(f"Grüße {number}") for number in range(50)]
    for each in documents:
        census.add(each)
    assert census.train_bytes + census.validation_bytes == sum(each.size for each in documents)
    assert census.validation_bytes == sum(each.size for each in documents if is_held_out(each, 0.5))


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.sampled_from("ab\nä€😀"), min_size=1, max_size=3000),
    fraction=st.floats(0.001, 0.5),
)
def test_a_tail_split_loses_nothing(text: str, fraction: float) -> None:
    parts = list(split_document(document(text), "tail", fraction))
    assert "".join(part for _, part in parts) == text
    assert [side for side, _ in parts] in (["train"], ["train", "validation"])
    assert all(part for _, part in parts)


def test_a_tail_begins_on_a_line() -> None:
    text = "".join(f"line {number:05d}\n" for number in range(10_000))
    cut = tail_start(text, 0.02)
    assert text[cut - 1] == "\n"
    assert 0.02 <= (len(text) - cut) / len(text) < 0.021


def test_a_tail_is_some_hundred_characters_but_never_most_of_a_short_text() -> None:
    assert tail_start("x" * 5000, 0.02) == 5000 - 256
    assert tail_start("x" * 100, 0.02) == 75
    assert tail_start("x", 0.02) == 1


def test_documents_split_by_hash_stay_whole() -> None:
    for number in range(20):
        each = document(f"document {number}")
        ((side, text),) = split_document(each, "hash", 0.5)
        assert text == each.text
        assert (side == "validation") == is_held_out(each, 0.5)
