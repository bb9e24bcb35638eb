"""Tokenizers of strangers: ``tokenizer.json``, then texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from ingot.model import Tokenizer
from tests.fuzz.mutate import dump, mutate_bytes, mutate_json

_SOUND = json.loads(Tokenizer.train(["words and 123 numbers, in lines\n" * 9], 290).to_json())
_TEXT = "some text\n  of WORDS, numbers 123 and é中😀 <|endoftext|>" * 20

_NORMALIZERS: tuple[Any, ...] = (
    {"type": "NFC"},
    {"type": "NFKD"},
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""},
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
)
_PRE_TOKENIZERS: tuple[Any, ...] = (
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "Digits", "individual_digits": True},
    {"type": "Punctuation", "behavior": "Isolated"},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    {"type": "FixedLength", "length": 0},
    {"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"Regex": "(x+)+y"}, "behavior": "Isolated", "invert": False},
    {"type": "UnicodeScripts"},
)
_DECODERS: tuple[Any, ...] = (
    {"type": "ByteFallback"},
    {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    {"type": "CTC", "pad_token": "a", "word_delimiter_token": "|", "cleanup": True},
)


def examples() -> Sequence[bytes]:
    return [dump(_SOUND)]


def make(random: Random) -> bytes:
    content = json.loads(json.dumps(_SOUND))
    for key, within, parts in (
        ("normalizer", "normalizers", _NORMALIZERS),
        ("pre_tokenizer", "pretokenizers", _PRE_TOKENIZERS),
        ("decoder", "decoders", _DECODERS),
    ):
        if random.random() < 0.3:
            chosen = random.choices(parts, k=random.randrange(1, 4))
            one = random.random() < 0.5
            content[key] = chosen[0] if one else {"type": "Sequence", within: chosen}
    kind = random.randrange(4)
    if kind == 0:
        return mutate_bytes(random, dump(content))
    if kind == 1:
        part = random.choice(list(content))
        return dump({**content, part: mutate_json(random, content[part])})
    if kind == 2:
        return dump({**content, "model": {**content["model"], **_model(random, content)}})
    return dump(content)


def _model(random: Random, content: Any) -> dict[str, Any]:
    """Return a model with another vocabulary or other merges."""
    vocab, merges = dict(content["model"]["vocab"]), list(content["model"]["merges"])
    for _ in range(random.randrange(1, 5)):
        token = random.choice(list(vocab))
        if random.random() < 0.5:
            vocab[token] = random.choice((0, 1, 289, 290, 1 << 23, 1 << 31))
        else:
            del vocab[token]
        merges.insert(random.randrange(len(merges)), random.choice(merges))
    return {"vocab": vocab, "merges": merges, "byte_fallback": random.random() < 0.5}


def attempt(data: bytes) -> None:
    tokenizer = Tokenizer.from_json(data.decode(errors="replace"), max_tokens=512)
    ids = tokenizer.encode(_TEXT)
    tokenizer.encode_batch([_TEXT, "", "a" * 1000])
    tokenizer.decode(ids)
    assert all(0 <= number < tokenizer.vocab_size for number in ids)
