"""Chat data and preference pairs of strangers: JSONL and JSON arrays, in every shape."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from ingot.errors import CorpusError
from ingot.training.data.conversations import answered_conversation
from ingot.training.data.preference_pairs import _conversations
from ingot.training.data.records import Record, read_records
from tests.fuzz.mutate import dump, mutate_bytes, mutate_json

_USER = {"role": "user", "content": "Two?"}
_CALL = {"name": "f", "arguments": '{"x": 1}'}
_ANSWER = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": _CALL}]}
_TOOL = {"role": "tool", "content": [{"type": "text", "text": "2"}], "tool_call_id": "1"}
_SAID = {"role": "assistant", "content": "Two."}
_RECORDS: list[dict[str, Any]] = [
    {"messages": [_USER, _ANSWER, _TOOL, _SAID], "tools": [{"type": "function"}]},
    {"conversations": [{"from": "human", "value": "Two?"}, {"from": "gpt", "value": "Two."}]},
    {
        "conversations": [
            {"from": "human", "value": "Two?"},
            {"from": "function_call", "value": json.dumps(_CALL)},
        ]
    },
    {"instruction": "Two?", "input": "x", "output": "Two.", "history": [["a", "b"]]},
    {"prompt": "Two?", "completion": "Two."},
    {"prompt": "Two and", "chosen": " two", "rejected": " three"},
    {"chosen": [_USER, _SAID], "rejected": [_USER, {**_SAID, "content": "3"}], "prompt": "Two?"},
    {"prompt": [_USER], "chosen": [_SAID], "rejected": "Three."},
]


@functools.cache
def examples() -> Sequence[bytes]:
    lines = [dump(record) for record in _RECORDS]
    return [*lines, b"\n".join(lines), b"[" + b",\n ".join(lines) + b"]"]


def make(random: Random) -> bytes:
    lines = [
        dump(mutate_json(random, random.choice(_RECORDS))) for _ in range(random.randint(1, 3))
    ]
    data = b"[" + b", ".join(lines) + b"]" if random.random() < 0.4 else b"\n".join(lines)
    return mutate_bytes(random, data) if random.random() < 0.4 else data


def attempt(data: bytes) -> None:
    path = Path("records.json")
    path.write_bytes(data)
    for record in read_records([path]):
        _understand(record)


def _understand(record: Record) -> None:
    """Read a record as a conversation and, if it has two answers, as a pair."""
    try:
        if "chosen" in record.values or "rejected" in record.values:
            _conversations(record, Counter())
        else:
            answered_conversation(record, Counter())
    except CorpusError as error:
        assert len(str(error)) < 1000  # noqa: PT017 (the harness asks for one short line)
        raise
