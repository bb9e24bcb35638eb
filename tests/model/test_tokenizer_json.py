"""Which parts of a ``tokenizer.json`` are accepted, and which are refused by name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Regex, pre_tokenizers

from ingot.errors import ArtifactError, UsageError
from ingot.model import Tokenizer
from ingot.model.tokenizer_json import PATTERNS

OWN = json.loads(Tokenizer.train(["some text of words and 123 numbers\n" * 9], 300).to_json())
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = LLAMA_3.replace("{1,3}", "")


def split(regex: str) -> dict[str, Any]:
    pattern = {"Regex": regex}
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def sequence(key: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", key: list(parts)}


def special(content: str, number: int) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": content, **flags, "special": True}


def read(change: Callable[[dict[str, Any]], object]) -> Tokenizer:
    content = copy.deepcopy(OWN)
    change(content)
    return Tokenizer.from_json(json.dumps(content))


PUBLISHED: dict[str, dict[str, Any]] = {
    "GPT-2": {
        "pre_tokenizer": {**BYTE_LEVEL, "use_regex": True},
        "post_processor": {**BYTE_LEVEL, "trim_offsets": False},
        "decoder": BYTE_LEVEL,
    },
    "Llama 3": {
        "pre_tokenizer": sequence(
            "pretokenizers", split(LLAMA_3), {**BYTE_LEVEL, "use_regex": False}
        ),
        "post_processor": sequence(
            "processors",
            BYTE_LEVEL,
            {
                "type": "TemplateProcessing",
                "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
                "special_tokens": {},
            },
        ),
        "decoder": BYTE_LEVEL,
    },
    "Qwen": {
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": sequence("pretokenizers", split(QWEN), {**BYTE_LEVEL, "use_regex": False}),
        "post_processor": BYTE_LEVEL,
        "decoder": BYTE_LEVEL,
    },
    "SmolLM": {
        "pre_tokenizer": sequence(
            "pretokenizers", {"type": "Digits", "individual_digits": True}, BYTE_LEVEL
        ),
        "post_processor": None,
    },
    "Mistral, Llama 2": {
        "normalizer": sequence(
            "normalizers",
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ),
        "pre_tokenizer": None,
        "decoder": sequence(
            "decoders",
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ),
    },
    "Gemma": {
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_structures_of_published_tokenizers_are_accepted(name: str) -> None:
    tokenizer = read(lambda content: content.update(PUBLISHED[name]))
    ids = tokenizer.encode("some words")
    assert ids
    assert Tokenizer.from_json(tokenizer.to_json()).encode("some words") == ids


def test_an_added_token_may_say_nothing_of_being_special() -> None:
    """FAULTS B: found by fuzzing; a special token of a stored tokenizer is one all the same."""

    def change(content: dict[str, Any]) -> None:
        for token in content["added_tokens"]:
            del token["special"]

    tokenizer = read(change)
    assert json.loads(tokenizer.to_json()) == OWN


def test_merges_may_be_texts_or_pairs() -> None:
    pairs = OWN["model"]["merges"]
    assert isinstance(pairs[0], list)
    texts = read(lambda content: content["model"].update(merges=[" ".join(p) for p in pairs]))
    assert texts.encode("some words") == read(lambda _: None).encode("some words")


def test_an_added_token_that_is_not_special_is_plain_text() -> None:
    number = read(lambda _: None).vocab_size
    added = {**special("é  é", number), "special": False}
    tokenizer = read(lambda content: content["added_tokens"].append(added))
    assert tokenizer.encode("é  é") == [number]
    assert tokenizer.decode([number]) == "é  é"


REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 5000}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("padding", {"padding": {"strategy": {"Fixed": 10**10}}}, "padding"),
    ("truncation", {"truncation": {"max_length": 4}}, "truncation"),
    ("replace", {"normalizer": sequence("normalizers", REPLACE, REPLACE)}, "normalizer"),
    ("longer", {"normalizer": {**REPLACE, "content": "aa"}}, "makes a text longer"),
    ("regex", {"normalizer": {**REPLACE, "pattern": {"Regex": "a"}}}, "normalizer"),
    ("nothing", {"normalizer": {**REPLACE, "pattern": {"String": ""}, "content": ""}}, "String"),
    ("charsmap", {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}, "normal"),
    ("lower", {"normalizer": {"type": "Lowercase"}}, "'Lowercase'"),
    ("nested", {"normalizer": sequence("normalizers", sequence("normalizers"))}, "'Sequence'"),
    ("many", {"normalizer": sequence("normalizers", *[{"type": "NFC"}] * 5)}, "at most 4"),
    ("fixed", {"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "'FixedLength'"),
    ("bomb", {"pre_tokenizer": split("(a+)+$")}, "regular expression"),
    ("size", {"pre_tokenizer": split("(a{20000}){30000}")}, "regular expression"),
    ("drops", {"pre_tokenizer": {**split(QWEN), "behavior": "Removed"}}, "behavior"),
    ("invert", {"pre_tokenizer": {**split(QWEN), "invert": True}}, "invert"),
    (
        "two",
        {"pre_tokenizer": {**split(QWEN), "pattern": {"Regex": QWEN, "String": "a"}}},
        "one of",
    ),
    ("bert", {"post_processor": {"type": "BertProcessing", "sep": ["a", 0]}}, "BertProcessing"),
    ("ctc", {"decoder": {"type": "CTC", "pad_token": "a"}}, "decoder"),
    ("version", {"version": "2.0"}, "version"),
    ("key", {"further": 1}, "further"),
    ("empty added", {"added_tokens": [special("", 1)]}, "added_tokens"),
    ("long added", {"added_tokens": [special("a" * 257, 1)]}, "added_tokens"),
    ("all added", {"added_tokens": [special("a" * 256, n) for n in range(1001)]}, "256000"),
]


@pytest.mark.parametrize(
    ("change", "what"), [case[1:] for case in REFUSED], ids=lambda x: str(x)[:20]
)
def test_what_is_not_understood_is_refused_by_name(change: dict[str, Any], what: str) -> None:
    """FAULTS B1: padding ended the server, normalizers took 5 GB, truncation cut prompts."""
    with pytest.raises(ArtifactError, match=what) as caught:
        read(lambda content: content.update(change))
    assert str(caught.value).startswith("tokenizer.json: is not a tokenizer that is understood")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"dropout": 0.5}, "dropout"),
        ({"type": "Unigram"}, "type"),
        ({"end_of_word_suffix": "</w>"}, "end_of_word_suffix"),
        ({"continuing_subword_prefix": "##"}, "continuing_subword_prefix"),
        ({"vocab": {"a": -1}}, "vocab"),
        ({"vocab": {"a": 1 << 40}}, "vocab"),
        ({"merges": [["a", "b", "c"]]}, "merges"),
    ],
    ids=str,
)
def test_other_models_are_refused(change: dict[str, Any], what: str) -> None:
    with pytest.raises(ArtifactError, match=what):
        read(lambda content: content["model"].update(change))


def test_a_file_too_long_for_its_tokens_is_refused_before_it_is_parsed() -> None:
    text = json.dumps(OWN)
    with pytest.raises(ArtifactError, match="more than 1,355,776 for 300 tokens"):
        Tokenizer.from_json(text + " " * 2_000_000, max_tokens=300)
    with pytest.raises(ArtifactError, match="holds more than 104800 values"):
        Tokenizer.from_json('{"a":[' + "0," * 200_000 + "0]}", max_tokens=300)


def test_panics_of_the_library_are_errors() -> None:
    """FAULTS B1: pyo3's PanicException is a BaseException and passed ``except Exception``."""
    tokenizer = read(lambda _: None)
    # The library panics on a length of 0. No file can ask for it, so it is put in here.
    tokenizer._backend.pre_tokenizer = pre_tokenizers.FixedLength(0)
    for use in (lambda: tokenizer.encode("text"), lambda: tokenizer.encode_batch(["text"] * 4)):
        with pytest.raises(ArtifactError, match="fails on this text"):
            use()


def test_half_a_surrogate_pair_is_not_text() -> None:
    with pytest.raises(UsageError, match="surrogate"):
        read(lambda _: None).encode("a\ud800")


HOSTILE = [
    " ",
    "a",
    "é",
    "中",
    "'",
    "\n ",
    " \t",
    "a1",
    "A",
    "aA",
    "1",
    "!",
    "/",
    "\u0301",
    "'s",
    "😀",
]


@pytest.mark.parametrize("pattern", sorted(PATTERNS), ids=range(len(PATTERNS)))
def test_the_known_patterns_take_linear_time(pattern: str) -> None:
    """Exponential or cubic time would not end here."""
    splitter = pre_tokenizers.Split(Regex(pattern), "isolated")
    for text in HOSTILE:
        for whole in (text * 20_000, text * 20_000 + "\n", text * 20_000 + "x"):
            pieces = splitter.pre_tokenize_str(whole)
            assert sum(end - start for _, (start, end) in pieces) == len(whole)
