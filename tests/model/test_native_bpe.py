"""The native core's ids, words and merges are those of the tokenizers' library."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from ingot import native
from ingot.errors import UsageError
from ingot.model import Tokenizer, bpe_training, native_bpe
from ingot.model.bpe_training import train_by_library
from ingot.model.native_bpe import native_encoder
from ingot.model.special_tokens import END_OF_TEXT
from ingot.model.split_pattern import LONGEST_RUN, split_pattern, splitter

SAMPLE = [
    "The cat's mat isn't ours; they'll say WE'VE 12345 of them.\n\n\tdef f(x):\n        return x\n",
    "naïve café — 日本語のテキスト、中文。 ١٢٣ 🙂🙃 e\u0301 \u00a0\u2003x\r\n\r\n" * 8,
] * 4
TOKENIZER = Tokenizer.train(SAMPLE, 700)
LLAMA3, QWEN = (pattern for pattern in native_bpe._MOST_DIGITS if pattern != split_pattern())

# Pieces that meet at the borders of words; any characters between them, surrogates left out.
PIECES = st.sampled_from(
    [
        *("'", "'s", "'LL", "'\u017f", "'\ufb06", "'re", "'v", "'rE", "'t"),
        *(" ", "  ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u2028", "\x85"),
        *(
            "a",
            "the",
            "Ω",
            "ß",
            "日",
            "語",
            "e\u0301",
            "\u200d",
            "🙂",
            "\u017f",
            "\u212a",
            "a" * 200,
        ),
        *("1", "12345", "٣", "²", "Ⅷ", "-", "...", "{}", "_", "\x00", "\x1f"),
        *("\U000e0100", "\U0010ffff", "\U000323af", "\U000323b0", "\U0001e943"),
    ]
)
TEXTS = st.lists(PIECES | st.characters(exclude_categories=["Cs"]), max_size=40).map("".join)


def words_of_library(text: str, pattern: str) -> list[str]:
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return [word for word, _ in split.pre_tokenize_str(text)]


def words_of_core(text: str, most_digits: int = 3, longest_run: int = 1 << 62) -> list[str]:
    data = text.encode()
    ends = native.split_words(text, most_digits=most_digits, longest_run=longest_run).tolist()
    return [data[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]


@settings(max_examples=1500, deadline=None)
@example("'\ufb06a").via("U+FB06 is written as st")
@example("x \n \n  y")
@given(TEXTS)
def test_the_core_splits_as_every_known_pattern_does(text: str) -> None:
    for pattern, most_digits in native_bpe._MOST_DIGITS.items():
        assert words_of_core(text, most_digits) == words_of_library(text, pattern)


@settings(max_examples=600, deadline=None)
@example(" " * 5 + "\n" + "x", 4)
@given(st.lists(PIECES, max_size=60).map("".join), st.integers(1, 6) | st.just(LONGEST_RUN))
def test_runs_are_cut_as_in_training(text: str, longest_run: int) -> None:
    expected = words_of_library(text, split_pattern(longest_run))
    assert words_of_core(text, longest_run=longest_run) == expected


def test_every_character_has_the_class_that_the_library_gives_it() -> None:
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(codes), 1 << 14):
        text = "".join(f"a{chr(code)}a,{chr(code)}," for code in codes[start : start + (1 << 14)])
        assert words_of_core(text) == words_of_library(text, split_pattern()), hex(start)


@settings(max_examples=1000, deadline=None)
@given(TEXTS)
def test_ids_are_those_of_the_library(text: str) -> None:
    assert TOKENIZER.native is not None
    ids, ends = TOKENIZER.native.encode([text, "", text])
    expected = TOKENIZER.encode_batch([text])[0]
    assert ids.tolist() == expected * 2
    assert ends.tolist() == [len(expected), len(expected), 2 * len(expected)]


@pytest.mark.parametrize("word", ["a" * 5000, "ab" * 3000, "日本" * 2000, "🙂" * 999, " " * 4000])
def test_long_words_are_merged_as_in_the_library(word: str) -> None:
    tokenizer = Tokenizer.train([word[:400], *SAMPLE], 400)
    assert tokenizer.encode(word) == tokenizer.encode_batch([word])[0]
    assert tokenizer.native is not None


def test_a_full_cache_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_bpe, "CACHE_BYTES", 1)  # the least: some thousand words
    tokenizer = Tokenizer.from_json(TOKENIZER.to_json())
    words = " ".join(f"w{number:x}ords" for number in range(30_000))
    assert tokenizer.native is not None
    for _ in range(2):
        assert tokenizer.native.encode([words])[0].tolist() == tokenizer.encode_batch([words])[0]


def test_a_surrogate_is_refused() -> None:
    with pytest.raises(UsageError, match="surrogate"):
        TOKENIZER.encode("x" * 300 + "\ud800")
    with pytest.raises(UsageError, match="surrogate"):
        TOKENIZER.encode_arrays(["\ud800"])


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=6), st.integers(257, 500))
def test_training_gives_the_library_s_tokenizer(texts: list[str], vocab_size: int) -> None:
    texts = texts + texts[:2]
    expected = train_by_library(texts, vocab_size, special=END_OF_TEXT)
    assert Tokenizer.train(texts, vocab_size).to_json() == expected.to_str(pretty=False)


def test_without_the_core_the_library_trains_and_encodes(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Tokenizer.train(SAMPLE, 400)
    monkeypatch.setattr(native_bpe, "native", None)
    tokenizer = Tokenizer.train(SAMPLE, 400)
    assert tokenizer.native is None
    assert tokenizer.to_json() == expected.to_json()
    ids, ends = tokenizer.encode_arrays(SAMPLE)
    expected_ids, expected_ends = expected.encode_arrays(SAMPLE)
    assert ids.tolist() == expected_ids.tolist()
    assert ends.tolist() == expected_ends.tolist()


def test_another_version_of_unicode_leaves_the_core_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    native_bpe._splits_alike.cache_clear()
    # A library to which a letter is not one yet.
    other = split_pattern().replace(r"\p{L}+", r"[\p{L}&&[^\x{1E943}]]+")
    monkeypatch.setattr(native_bpe, "split_pattern", lambda: other)
    try:
        assert not native_bpe._splits_alike()
        assert native_encoder(TOKENIZER._backend) is None
    finally:
        native_bpe._splits_alike.cache_clear()


@pytest.mark.parametrize("pattern", [LLAMA3, QWEN])
def test_known_patterns_of_other_models(pattern: str) -> None:
    backend = TOKENIZER._backend.from_str(TOKENIZER.to_json())
    backend.pre_tokenizer = splitter(pattern)
    tokenizer = Tokenizer.from_json(backend.to_str())
    assert tokenizer.native is not None
    text = "It's 12345 of\r\n\r\n  them" * 40
    assert tokenizer.encode(text) == tokenizer.encode_batch([text])[0]


def _changed(**changes: object) -> Tokenizer:
    content = json.loads(TOKENIZER.to_json())
    content["model"] |= changes.pop("model", {})  # type: ignore[operator]
    return Tokenizer.from_json(json.dumps(content | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"ignore_merges": True}},
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": json.loads(TOKENIZER.to_json())["pre_tokenizer"]["pretokenizers"][1]},
    ],
    ids=["whole words", "normalizer", "pattern"],
)
def test_what_the_core_does_not_know_is_left_to_the_library(changes: dict[str, object]) -> None:
    assert _changed(**changes).native is None


def test_a_difference_makes_the_library_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer.from_json(TOKENIZER.to_json())
    assert tokenizer.use_library_unless_equal(SAMPLE)
    assert tokenizer.native is not None
    right = tokenizer.encode_batch(SAMPLE)
    wrong = native_bpe.NativeEncoder.encode
    monkeypatch.setattr(
        native_bpe.NativeEncoder, "encode", lambda self, texts: wrong(self, [*texts[1:], texts[0]])
    )
    assert not tokenizer.use_library_unless_equal(SAMPLE)
    ids, _ = tokenizer.encode_arrays(SAMPLE)
    assert ids.tolist() == [each for one in right for each in one]


def test_training_stops_where_distinct_words_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bpe_training, "_CORE_BYTES", 100)
    read = []

    def texts() -> object:
        for number in range(10):
            read.append(number)
            yield chr(ord("a") + number) * 40

    Tokenizer.train(texts(), 300)  # type: ignore[arg-type]
    assert read == [0, 1, 2, 3]  # the fourth is refused: the three before it fill the memory
