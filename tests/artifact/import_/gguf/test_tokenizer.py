"""Tokenizers out of metadata, against the tokenizers library and the rule of SentencePiece."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from ingot.artifact.import_.gguf.byte_level_tokenizer import PRETOKENIZERS
from ingot.artifact.import_.gguf.metadata import Metadata
from ingot.artifact.import_.gguf.tokenizer import GgufTokenizer, read_tokenizer
from ingot.errors import ArtifactError
from ingot.model.tokenizer_json import check_tokenizer_json

TEXTS = ["the quick brown fox jumps over the lazy dog, 1234 times\n\n  and café 日本 don't"] * 8
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)


def trained(split: Any) -> Backend:
    """Return a byte-level BPE tokenizer that splits as GPT-2 does, or after another split."""
    backend = Backend(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*split, byte_level])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|endoftext|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    return backend


def byte_level_keys(backend: Backend, pre: str, /, **changed: Any) -> dict[str, Any]:
    content = json.loads(backend.to_str())["model"]
    tokens = sorted(content["vocab"], key=content["vocab"].__getitem__)
    keys: dict[str, Any] = {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "token_type": np.array([CONTROL] * 2 + [NORMAL] * (len(tokens) - 2), dtype="<i4"),
        "merges": [each if isinstance(each, str) else " ".join(each) for each in content["merges"]],
        "eos_token_id": 1,
        "bos_token_id": 0,
    }
    return {f"tokenizer.ggml.{key}": each for key, each in (keys | changed).items()}


def read(keys: Mapping[str, Any], rows: int = 1 << 20) -> tuple[GgufTokenizer, Backend]:
    found = read_tokenizer(Metadata(keys, "model.gguf"), rows)
    check_tokenizer_json(json.loads(found.tokenizer_json), where="tokenizer.json")
    return found, Backend.from_str(found.tokenizer_json)


@pytest.fixture(scope="module")
def gpt2() -> Backend:
    return trained([])


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_a_byte_level_vocabulary_encodes_as_it_did(gpt2: Backend, text: str) -> None:
    _, backend = read(byte_level_keys(gpt2, "gpt-2"))

    ids = backend.encode(text).ids
    assert ids == gpt2.encode(text).ids
    assert backend.decode(ids) == text


def test_single_digits() -> None:
    original = trained([pre_tokenizers.Digits(individual_digits=True)])
    _, backend = read(byte_level_keys(original, "smollm"))

    for text in ("x12 345 67x", " 1 2", "no"):
        assert backend.encode(text).tokens == original.encode(text).tokens
    assert "12" not in "".join(backend.get_vocab())


@pytest.mark.parametrize("pre", PRETOKENIZERS)
def test_every_split_loads_and_keeps_text(gpt2: Backend, pre: str) -> None:
    _, backend = read(byte_level_keys(gpt2, pre))

    for text in (*TEXTS[:1], "\t\r\n x", "It'S 12345 ÀÉ1", "  "):
        assert backend.decode(backend.encode(text).ids) == text


def test_special_and_stop_tokens(gpt2: Backend) -> None:
    keys = byte_level_keys(gpt2, "llama-bpe", padding_token_id=0, eot_token_id=5)
    found, backend = read(keys | {"tokenizer.chat_template": "{{ messages }}"})

    assert found.names == {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    # eos and eot by key; <|endoftext|> because a control token of this name ends a text.
    assert found.stop_ids == {0, 1, 5}
    assert found.adds_bos
    assert found.chat_template == "{{ messages }}"
    assert backend.encode("a<|im_end|>").ids[-1] == 1
    assert not read(keys | {"tokenizer.ggml.add_bos_token": False})[0].adds_bos


def test_rows_without_a_token_are_left_out(gpt2: Backend) -> None:
    keys = byte_level_keys(gpt2, "gpt-2")
    size = len(keys["tokenizer.ggml.tokens"])
    keys["tokenizer.ggml.tokens"] += ["[PAD0]", "[PAD1]"]
    keys["tokenizer.ggml.token_type"] = np.append(
        keys["tokenizer.ggml.token_type"], [UNUSED] * 2
    ).astype("<i4")

    assert read(keys)[1].get_vocab_size() == size


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "rwkv"}, "model 'rwkv' is not supported"),
        ({"pre": "kimi-k2"}, "pre 'kimi-k2' is not supported"),
        ({"merges": ["a b c d"]}, "merges 'a b c d'"),
        ({"merges": ["Ġ"]}, "which are not tokens"),
        ({"merges": 5}, "merges must be a list of texts"),
        ({"tokens": ["a", "a"]}, "must hold a number from 1 to 6 per token"),
        ({"tokens": ["a", "a"], "token_type": np.array([1, 1])}, "holds a token twice"),
        ({"tokens": ["a", ""], "token_type": np.array([1, 1])}, "a token that is empty"),
        ({"token_type": np.array([1, 2])}, "must hold a number from 1 to 6 per token"),
        ({"eos_token_id": 1 << 20}, "eos_token_id is 1048576, which is not a token"),
        ({"eos_token_id": -1}, "eos_token_id must be a whole number"),
        ({"add_eos_token": True}, "add_eos_token is not supported"),
        ({"add_space_prefix": True}, "add_space_prefix is not supported"),
        ({"surprise": 1}, "tokenizer.ggml.surprise is not understood"),
    ],
)
def test_refusals(gpt2: Backend, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ArtifactError, match=r"^model\.gguf: ") as caught:
        read(byte_level_keys(gpt2, "gpt-2", **changed))
    assert said in str(caught.value)


def test_more_tokens_than_rows_are_refused(gpt2: Backend) -> None:
    with pytest.raises(ArtifactError, match="tokens for 100 rows of the table"):
        read(byte_level_keys(gpt2, "gpt-2"), rows=100)


# A vocabulary with scores.

PIECES = ["▁", "a", "b", "c", "▁a", "ab", "bc", "abc", "▁ab", "ca", "▁▁", "cab", "▁abc", "aa"]
SPM_TOKENS = [
    "<unk>",
    "<s>",
    "</s>",
    *(f"<0x{value:02X}>" for value in range(256)),
    *PIECES,
    "<|user|>",
]


def spm_keys(scores: list[float], /, **changed: Any) -> dict[str, Any]:
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(PIECES) + [USER]
    keys: dict[str, Any] = {
        "model": "llama",
        "tokens": list(SPM_TOKENS),
        "token_type": np.array(kinds, dtype="<i4"),
        "scores": np.array([0.0] * 259 + scores + [0.0], dtype="<f4"),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }
    return {f"tokenizer.ggml.{key}": each for key, each in (keys | changed).items()}


def by_score(text: str, scores: Mapping[str, float]) -> list[str]:
    """Return the pieces of a text: the adjacent pair with the best score is joined first."""
    pieces = list(text)
    while True:
        pairs = [
            (-scores[pieces[at] + pieces[at + 1]], at)
            for at in range(len(pieces) - 1)
            if pieces[at] + pieces[at + 1] in scores
        ]
        if not pairs:
            return pieces
        at = min(pairs)[1]
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abc ", max_size=12), st.permutations(range(len(PIECES))))
def test_merges_follow_the_scores(text: str, order: list[int]) -> None:
    # Single characters are never made by a merge, so their scores do not matter.
    scores = [-float(rank) for rank in order]
    _, backend = read(spm_keys(scores))

    expected = by_score(("▁" + text).replace(" ", "▁"), dict(zip(PIECES, scores, strict=True)))
    tokens = backend.encode(text).tokens
    if text:
        assert tokens == expected
    assert backend.decode(backend.encode(text).ids) == text


def test_bytes_stand_for_what_is_no_token() -> None:
    scores = [-float(rank) for rank in range(len(PIECES))]
    found, backend = read(spm_keys(scores, add_space_prefix=False))

    assert backend.encode("aé").tokens == ["a", "<0xC3>", "<0xA9>"]
    assert backend.decode(backend.encode("aé日\n").ids) == "aé日\n"
    assert backend.encode("a<|user|>b").ids[1] == SPM_TOKENS.index("<|user|>")
    assert found.adds_bos
    assert found.stop_ids == {2}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"scores": np.array([1.0], dtype="<f4")}, "scores must hold a finite number per token"),
        ({"token_type": np.array([1] * len(SPM_TOKENS))}, "must mark a token for each byte"),
        ({"remove_extra_whitespaces": True}, "remove_extra_whitespaces is not supported"),
    ],
)
def test_refusals_with_scores(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        read(spm_keys([0.0] * len(PIECES), **changed))
    assert said in str(caught.value)
