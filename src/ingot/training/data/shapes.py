"""Shapes of chat data: what a record holds is told by its keys and brought into one form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ingot.corpus.reading.jsonl import kind_of
from ingot.model.chat import ANSWERER
from ingot.training.data.messages import checked_messages, described_tools, written
from ingot.training.data.records import Record

EXAMPLE = (
    'write {"messages": [{"role": "user", "content": "Hi"}, '
    '{"role": "assistant", "content": "Hello."}]}'
)
"""What to do with a record of another shape."""

# The question and the answer to it, and the name of the shape.
_PAIRS = (
    ("prompt", "completion", "prompt and completion"),
    ("prompt", "response", "prompt and response"),
    ("question", "answer", "question and answer"),
    ("instruction", "output", "alpaca"),
    ("instruction", "response", "alpaca"),
)
_INPUTS = ("input", "context")  # what an instruction is about
# ShareGPT's names of roles, as its many descendants write them.
_ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "assistant", "model", "bot", "bard", "bing"), ANSWERER),
    "system": "system",
    "function_call": "function_call",
    **dict.fromkeys(("observation", "function_response", "tool", "tool_response"), "tool"),
}

Messages = list[dict[str, str]]


def conversation_of(record: Record) -> tuple[str, Messages]:
    """Return the name of a record's shape, and its conversation.

    Raises:
        CorpusError: it has none of the known shapes, or a message cannot be used.
    """
    if asked := _messages_of(record):
        return asked
    held = record.values.keys()
    pair = next((pair for pair in _PAIRS if {*pair[:2]} <= held), None)
    if pair is None:
        record.refuse(f"has {_found(record)}, not the keys of a conversation", EXAMPLE)
    question, answer, shape = pair
    return shape, [*_question(record, question), *_side(record, answer, repr(answer))]


def question_of(record: Record) -> tuple[str, Messages]:
    """Return what two answers of a record answer: its shape, and messages, perhaps none.

    Raises:
        CorpusError: a message cannot be used.
    """
    if asked := _messages_of(record):
        return asked
    for key in ("prompt", "question", "instruction"):
        if key in record.values:
            return key, _question(record, key)
    return "two conversations", described_tools(record)


def _messages_of(record: Record) -> tuple[str, Messages] | None:
    """Return the shape and messages of a record that holds a list of messages."""
    if "messages" in record.values:
        messages = checked_messages(record, record.values["messages"], "messages")
        return "messages", [*described_tools(record), *messages]
    if "conversations" in record.values:
        turns = _turns(record, record.values["conversations"])
        messages = checked_messages(record, turns, "conversations")
        return "ShareGPT", [*described_tools(record), *_system(record), *messages]
    return None


def _question(record: Record, key: str) -> Messages:
    """Return what is asked, with what precedes it."""
    value = record.values[key]
    if isinstance(value, list):
        return [*described_tools(record), *checked_messages(record, _turns(record, value), key)]
    text = record.text(key)
    if key == "instruction":
        inputs = [record.values[name] for name in _INPUTS if record.values.get(name)]
        text = "\n\n".join([text, *(record.checked(each, "'input'") for each in inputs)])
    return [
        *described_tools(record),
        *_system(record),
        *_history(record),
        {"role": "user", "content": text},
    ]


def _side(record: Record, key: str, name: str) -> Messages:
    """Return an answer: a text, a message, or messages."""
    value = record.values[key]
    if isinstance(value, list | dict):
        turns = _turns(record, value if isinstance(value, list) else [value])
        return checked_messages(record, turns, key)
    return [{"role": ANSWERER, "content": record.checked(value, name)}]


def answer_of(record: Record, key: str) -> Messages:
    """Return one of two answers, with the messages before it if it holds them.

    Raises:
        CorpusError: a message cannot be used, or the last one is not an answer.
    """
    messages = _side(record, key, repr(key))
    if messages[-1]["role"] != ANSWERER:
        record.refuse(f"{key!r} does not end with an assistant message", "end it with the answer")
    return messages


def _system(record: Record) -> Messages:
    for key in ("system", "system_prompt"):
        if record.values.get(key):
            return [{"role": "system", "content": record.text(key)}]
    return []


def _history(record: Record) -> Messages:
    """Return alpaca's earlier turns: a list of questions with their answers."""
    turns = record.values.get("history") or []
    if not isinstance(turns, list):
        record.refuse(f"'history' is {kind_of(turns)}, not a list", "give [[question, answer]]")
    messages = []
    for turn in turns:
        if not isinstance(turn, list) or len(turn) != 2:
            record.refuse("a turn of 'history' is not a pair", "give [[question, answer]]")
        for role, text in zip(("user", ANSWERER), turn, strict=True):
            messages.append({"role": role, "content": record.checked(text, "'history'")})
    return messages


def _turns(record: Record, turns: Any) -> Any:
    """Return ShareGPT's turns as messages; others unchanged."""
    if not isinstance(turns, list):
        return turns
    return [
        _turn(record, number, turn) if isinstance(turn, Mapping) and "from" in turn else turn
        for number, turn in enumerate(turns, 1)
    ]


def _turn(record: Record, number: int, turn: Mapping[str, Any]) -> dict[str, Any]:
    said = turn["from"]
    role = _ROLES.get(said.lower()) if isinstance(said, str) else None
    if role is None:
        shown = repr(said[:40]) if isinstance(said, str) else kind_of(said)
        known = ", ".join(dict.fromkeys(_ROLES))
        record.refuse(f"message {number} is from {shown}", f"use one of {known}")
    rest = {key: value for key, value in turn.items() if key not in ("from", "value")}
    content = turn.get("value")
    if role != "function_call":
        return {**rest, "role": role, "content": content}
    try:
        call = json.loads(content) if isinstance(content, str) else content
    except (ValueError, RecursionError):
        call = None
    calls = call if isinstance(call, list) else [call]
    text = "\n".join(written(record, each, f"call of message {number}") for each in calls)
    return {**rest, "role": ANSWERER, "content": text}


def _found(record: Record) -> str:
    names = [repr(str(key)[:40]) for key in list(record.values)[:8]]
    return f"the keys {', '.join(names)}" if names else "no keys"
