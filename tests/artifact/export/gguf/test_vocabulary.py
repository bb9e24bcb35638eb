from __future__ import annotations

import json
from typing import Any

import pytest

from ingot.artifact.export.gguf.vocabulary import vocabulary
from ingot.artifact.export.small_files import SmallFiles
from ingot.errors import UsageError
from ingot.model import Tokenizer
from ingot.model.split_pattern import split_pattern

GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split(regex: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def sequence(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(parts)}


def files(tokenizer: Tokenizer, **edits: Any) -> SmallFiles:
    content = json.loads(tokenizer.to_json())
    model = edits.pop("model", {})
    content |= edits
    content["model"] |= model
    generation = {"eos_token_id": [0, 5, 7], "pad_token_id": 9}
    return SmallFiles({}, content, {}, "{{ messages }}", generation)


@pytest.mark.parametrize(
    ("pre_tokenizer", "ignore_merges", "name"),
    [
        (sequence(split(split_pattern()), BYTES), False, "smaug-bpe"),
        (sequence(split(QWEN), BYTES), False, "qwen2"),
        (sequence(split(QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|")), BYTES), True, "llama-bpe"),
        (sequence({"type": "Digits", "individual_digits": True}, GPT2), False, "smollm"),
        (GPT2, False, "gpt-2"),
    ],
    ids=["own", "qwen", "llama 3", "smollm", "gpt-2"],
)
def test_names_the_split(
    tokenizer: Tokenizer, pre_tokenizer: dict[str, Any], ignore_merges: bool, name: str
) -> None:
    small = files(tokenizer, pre_tokenizer=pre_tokenizer, model={"ignore_merges": ignore_merges})
    keys, notes = vocabulary(small, 320)
    assert keys["tokenizer.ggml.pre"] == name
    assert notes == ()


def test_special_tokens_and_notes(tokenizer: Tokenizer) -> None:
    keys, notes = vocabulary(files(tokenizer, normalizer={"type": "NFC"}), 320)
    assert [keys[f"tokenizer.ggml.{name}_token_id"] for name in ("eos", "eot", "eom")] == [0, 5, 7]
    assert keys["tokenizer.ggml.padding_token_id"] == 9
    assert keys["tokenizer.ggml.bos_token_id"] == 0
    assert keys["tokenizer.chat_template"] == "{{ messages }}"
    assert "NFC" in notes[0]


@pytest.mark.parametrize(
    "edits",
    [
        {"pre_tokenizer": None},
        {"pre_tokenizer": sequence(split("[0-9][0-9][0-9]"), BYTES)},
        {"pre_tokenizer": {**GPT2, "add_prefix_space": True}},
        {"normalizer": {"type": "NFKC"}},
        {"model": {"byte_fallback": True}},
    ],
    ids=["none", "unknown", "prefix", "normalizer", "byte fallback"],
)
def test_what_llama_cpp_does_otherwise_is_refused(
    tokenizer: Tokenizer, edits: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=r"llama\.cpp"):
        vocabulary(files(tokenizer, **edits), 320)
