from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend

from ingot.artifact.export.gguf.sentencepiece import sentencepiece_keys
from ingot.artifact.export.gguf.vocabulary import vocabulary
from ingot.artifact.export.small_files import SmallFiles
from ingot.errors import UsageError

PIECES = ["he", "▁t", "▁the", "in", "re", "▁a", "er", "▁w", "the", "here", "▁where", "▁wh"]
PREFIX = [
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
]


def content(normalizer: Any = None) -> dict[str, Any]:
    """A vocabulary as SentencePiece makes it, its merges as transformers converts them."""
    special = ["<unk>", "<s>", "</s>"]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *PIECES]
    tokens += sorted(set("▁abcdefghijklmnopqrstuvwxyz.,"))
    ids = {text: number for number, text in enumerate(tokens)}
    merges = [
        [piece[:end], piece[end:]]
        for piece in PIECES
        for end in range(1, len(piece))
        if piece[:end] in ids and piece[end:] in ids
    ]
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": ids[text], "content": text, "special": True, "single_word": False,
             "lstrip": False, "rstrip": False, "normalized": False}
            for text in special
        ],
        "normalizer": normalizer or {"type": "Sequence", "normalizers": PREFIX},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {"type": "BPE", "vocab": ids, "merges": merges, "byte_fallback": True,
                  "fuse_unk": True, "unk_token": "<unk>"},
    }  # fmt: skip


def llama_cpp(keys: dict[str, Any], text: str) -> list[str]:
    """The tokens that llama.cpp makes: neighbours of the highest score are joined, leftmost first.

    Source: ``llm_tokenizer_spm_session`` in ``llama-vocab.cpp``.
    """
    score = dict(zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.scores"], strict=True))
    text = (" " if keys["tokenizer.ggml.add_space_prefix"] else "") + text
    parts = list(text.replace(" ", "▁"))
    while True:
        joined = [(score[a + b], -i) for i, (a, b) in enumerate(itertools.pairwise(parts))
                  if a + b in score]  # fmt: skip
        if not joined:
            break
        place = -max(joined)[1]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return [
        token
        for part in parts
        for token in ([part] if part in score else [f"<0x{b:02X}>" for b in part.encode()])
    ]


@pytest.mark.parametrize("text", ["where the here", "there  in a wherein, é.", "hehe he", ""])
@pytest.mark.parametrize("normalizer", [None, PREFIX[1]], ids=["prefix", "gemma"])
def test_scores_cut_text_as_the_merges_do(text: str, normalizer: Any) -> None:
    given = content(normalizer)
    small = SmallFiles({}, given, {"add_bos_token": True}, "", {"eos_token_id": 2})
    keys, notes = vocabulary(small, 300)
    backend = Backend.from_str(json.dumps(given))
    if text or normalizer:
        assert llama_cpp(keys, text) == backend.encode(text, add_special_tokens=False).tokens
    assert keys["tokenizer.ggml.model"] == "llama"
    assert keys["tokenizer.ggml.add_bos_token"] is True
    assert keys["tokenizer.ggml.unknown_token_id"] == 0
    assert keys["tokenizer.ggml.token_type"][:5] == [2, 3, 3, 6, 6]  # type: ignore[index]
    assert notes == ()


def keys_of(given: dict[str, Any]) -> object:
    texts = list(given["model"]["vocab"])
    return sentencepiece_keys(given, texts, {text for text in texts if text[0] != "<"})


def test_a_space_after_special_tokens_is_told() -> None:
    given = content()
    given["normalizer"] = None
    given["pre_tokenizer"] = {
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False
    }  # fmt: skip
    found = sentencepiece_keys(given, list(given["model"]["vocab"]), set(PIECES))
    assert found is not None
    assert "special token" in found[1][0]


@pytest.mark.parametrize("lost", [("t", "he"), ("▁t", "he")])
def test_merges_that_scores_cannot_say_are_refused(lost: tuple[str, str]) -> None:
    given = content()
    given["model"]["merges"].remove(list(lost))
    with pytest.raises(UsageError, match="scores"):
        keys_of(given)


def test_merges_in_another_order_are_refused() -> None:
    given = content()
    given["model"]["merges"].append(given["model"]["merges"].pop(2))
    with pytest.raises(UsageError, match="scores"):
        keys_of(given)


def test_other_tokenizers_are_not_its_matter() -> None:
    given = content()
    given["model"]["byte_fallback"] = False
    assert keys_of(given) is None
    given = content({"type": "NFKC"})
    assert keys_of(given) is None
