from __future__ import annotations

import json
import random
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

import ingot
from ingot.model import Tokenizer, bpe_training
from ingot.model.bpe_training import train_bpe
from ingot.model.split_pattern import LONGEST_RUN, split_pattern, splitter
from ingot.model.text_pieces import text_pieces
from ingot.model.tokenizer import END_OF_TEXT

TEXTS = [path.read_text() for path in sorted(Path(ingot.__file__).parent.rglob("*.py"))[:40]]
TOKENIZER = Tokenizer.train(TEXTS, 512)


def unbounded(texts: list[str], vocab_size: int) -> Backend:
    """The library's own training, the whole texts at once."""
    backend = Backend(BPE())
    backend.pre_tokenizer = splitter(split_pattern())
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def test_ordinary_text_gives_the_same_tokenizer_as_without_bounds() -> None:
    """FAULTS D5: the bounds change nothing for ordinary text."""
    texts = [*TEXTS, "".join(TEXTS)]
    assert len(texts[-1]) > 1 << 16  # more than one piece
    bounded = train_bpe(texts, 2000, special=END_OF_TEXT)
    assert bounded.to_str() == unbounded(texts, 2000).to_str()


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        " " * 1_000_000 + "x",
        "\n" * 1_000_000,
        "-=" * 500_000,
        "".join(map(chr, random.Random(5).choices(range(0x4E00, 0x5200), k=300_000))),
    ],
    ids=["letters", "spaces", "lines", "punctuation", "Chinese"],
)
def test_a_long_run_is_counted_in_bounded_time(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS D5: training was quadratic in the longest run; these took hours or did not end."""
    tokenizer = Tokenizer.train([text], 300)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    words = [
        word
        for piece in bpe_training._bounded([text])
        for word, _ in splitter(split_pattern(LONGEST_RUN)).pre_tokenize_str(piece)
    ]
    # The library's time is the sum of squares: a bounded word bounds it.
    assert max(map(len, words)) <= 3 * (2 * LONGEST_RUN + 2)


def test_distinct_words_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS D8: memory grew with the distinct words."""
    rng = random.Random(1)
    lines = "".join("".join(rng.choices("abcdefgh", k=30)) + "\n" for _ in range(20_000))
    monkeypatch.setattr(bpe_training, "DISTINCT_BYTES", 100_000)
    pieces = text_pieces(lines, bpe_training._PIECE)
    read = "".join(bpe_training._bounded(pieces))
    assert 100_000 <= len(set(re.findall(r"\w+", read))) * 30 <= 100_000 + (1 << 16)
    repeated = ["the same few words again\n" * 10_000] * 5
    assert "".join(bpe_training._bounded(repeated)) == "".join(repeated)


@given(st.text(st.sampled_from("ab .\n\r\t'9ä"), max_size=200), st.integers(2, 40))
def test_pieces_make_up_the_text(text: str, size: int) -> None:
    pieces = list(text_pieces(text, size))
    assert "".join(pieces) == text
    assert all(len(piece) <= size for piece in pieces)
    assert all(pieces[:-1])


@given(st.lists(st.text(st.sampled_from("ab .\r\t'9ä"), min_size=1, max_size=12), max_size=40))
def test_no_token_crosses_a_cut_between_lines(lines: list[str]) -> None:
    """The tokens of the pieces are those of the text, where lines begin without white space."""
    text = "\n".join(f"x{line}" for line in lines)
    pieces = list(text_pieces(text, 30))
    assert [id_ for piece in pieces for id_ in TOKENIZER.encode(piece)] == TOKENIZER.encode(text)
    assert all(before.endswith("\n") for before, _ in pairwise(pieces))


def test_the_stored_pattern_has_no_bound() -> None:
    """Another program that reads the tokenizer sees the usual pattern."""
    stored = json.loads(TOKENIZER.to_json())["pre_tokenizer"]["pretokenizers"][0]["pattern"]
    assert stored == {"Regex": split_pattern()}
