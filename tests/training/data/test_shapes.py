"""Shapes of chat data that people have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ingot.errors import CorpusError
from ingot.training.data.records import Record
from ingot.training.data.shapes import conversation_of

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "How many?"}
ANSWER = {"role": "assistant", "content": "Three."}
CALL = '<tool_call>\n{"name": "count", "arguments": {"what": "cats"}}\n</tool_call>'
FUNCTION = {"name": "count", "arguments": {"what": "cats"}}
TOOL = {"role": "tool", "content": "3"}


@pytest.mark.parametrize(
    ("record", "shape", "expected"),
    [
        ({"messages": [SYSTEM, USER, ANSWER], "id": 7}, "messages", [SYSTEM, USER, ANSWER]),
        (
            {
                "conversations": [
                    {"from": "system", "value": "Be brief."},
                    {"from": "human", "value": "How many?"},
                    {"from": "gpt", "value": "Three."},
                ]
            },
            "ShareGPT",
            [SYSTEM, USER, ANSWER],
        ),
        (
            {
                "system": "Be brief.",
                "conversations": [
                    {"from": "human", "value": "How many?"},
                    {"from": "function_call", "value": json.dumps(FUNCTION)},
                    {"from": "observation", "value": "3"},
                    {"from": "gpt", "value": "Three."},
                ],
            },
            "ShareGPT",
            [SYSTEM, USER, {"role": "assistant", "content": CALL}, TOOL, ANSWER],
        ),
        ({"conversations": [USER, ANSWER]}, "ShareGPT", [USER, ANSWER]),
        (
            {"instruction": "How many?", "input": "", "output": "Three."},
            "alpaca",
            [USER, ANSWER],
        ),
        (
            {
                "system": "Be brief.",
                "instruction": "Count.",
                "input": "cat cat cat",
                "output": "Three.",
                "history": [["How many?", "Three."]],
            },
            "alpaca",
            [SYSTEM, USER, ANSWER, {"role": "user", "content": "Count.\n\ncat cat cat"}, ANSWER],
        ),
        (
            {"instruction": "Count.", "context": "a b c", "response": "Three.", "category": "qa"},
            "alpaca",
            [{"role": "user", "content": "Count.\n\na b c"}, ANSWER],
        ),
        ({"prompt": "How many?", "completion": "Three."}, "prompt and completion", [USER, ANSWER]),
        (
            {"prompt": [SYSTEM, USER], "completion": [ANSWER]},
            "prompt and completion",
            [SYSTEM, USER, ANSWER],
        ),
        ({"prompt": "How many?", "response": "Three."}, "prompt and response", [USER, ANSWER]),
        ({"question": "How many?", "answer": "Three."}, "question and answer", [USER, ANSWER]),
    ],
)
def test_the_keys_tell_the_shape(record: Any, shape: str, expected: Any) -> None:
    """FAULTS D12: the shapes of chat data that people have."""
    assert conversation_of(Record(record, "x:1")) == (shape, expected)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "developer", "content": "Be brief."}, SYSTEM),
        ({**USER, "name": "ann"}, USER),
        (
            {
                "role": "user",
                "content": [{"type": "text", "text": "How "}, {"type": "text", "text": "many?"}],
            },
            USER,
        ),
        (
            {
                **ANSWER,
                "tool_calls": None,
                "function_call": None,
                "refusal": None,
                "annotations": [],
                "audio": None,
            },
            ANSWER,
        ),
        (
            {"role": "assistant", "content": None, "refusal": "No."},
            {"role": "assistant", "content": "No."},
        ),
        (
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {"name": "count", "arguments": '{"what": "cats"}'},
                    }
                ],
            },
            {"role": "assistant", "content": CALL},
        ),
        (
            {
                "role": "assistant",
                "content": "Wait.",
                "tool_calls": [{"name": "count", "arguments": {"what": "cats"}}],
            },
            {"role": "assistant", "content": f"Wait.\n{CALL}"},
        ),
        (
            {
                "role": "assistant",
                "content": "",
                "function_call": {"name": "count", "arguments": '{"what": "cats"}'},
            },
            {"role": "assistant", "content": CALL},
        ),
        ({"role": "tool", "content": "3", "tool_call_id": "1", "name": "count"}, TOOL),
        ({"role": "function", "content": "3", "name": "count"}, TOOL),
        ({"role": "tool", "content": ""}, {"role": "tool", "content": ""}),
    ],
)
def test_what_messages_may_hold(message: Any, expected: Any) -> None:
    """FAULTS D12: tool messages, ``name``, content parts, ``developer``."""
    record = Record({"messages": [message, ANSWER]}, "x:1")
    assert conversation_of(record) == ("messages", [expected, ANSWER])


@pytest.mark.parametrize("as_text", [False, True])
def test_tools_are_described_as_they_are_to_a_served_model(as_text: bool) -> None:
    tools: Any = [{"type": "function", "function": {"name": "count", "parameters": {}}}]
    tools = json.dumps(tools) if as_text else tools
    _, messages = conversation_of(Record({"messages": [USER, ANSWER], "tools": tools}, "x:1"))
    assert messages[0]["role"] == "system"
    assert messages[0]["content"].startswith("You may call these functions:\n{")
    assert messages[1:] == [USER, ANSWER]


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"text": "a", "label": 1}, r"has the keys 'text', 'label', not the keys of a conversat"),
        ({}, "has no keys, not the keys of a conversation"),
        ({"conversations": {}}, "has no list of 'conversations'"),
        ({"conversations": [{"from": "alien", "value": "x"}]}, "message 1 is from 'alien'"),
        ({"conversations": [{"from": 7, "value": "x"}]}, "message 1 is from a number"),
        ({"conversations": [{"from": "human"}]}, "content of message 1 is null, not text"),
        ({"conversations": [{"from": "function_call", "value": "{"}]}, "the call of message 1 has"),
        (
            {"conversations": [{"from": "human", "value": "x", "weight": 0}]},
            "message 1 has 'weig",
        ),
        ({"instruction": 3, "output": "x"}, "'instruction' is a number, not text"),
        ({"instruction": "x", "input": ["y"], "output": "z"}, "'input' is a list, not text"),
        ({"instruction": "x", "output": ""}, "'output' is empty"),
        ({"instruction": "x", "output": "y", "history": [["q"]]}, "a turn of 'history' is not a"),
        ({"prompt": [], "completion": "x"}, "has no list of 'prompt'"),
        ({"messages": [USER, ANSWER], "tools": "x"}, "'tools' is text that is not JSON"),
        ({"messages": [USER, ANSWER], "tools": [3]}, "'tools' is not a list of objects"),
    ],
)
def test_what_has_no_shape_is_named_with_an_example(record: Any, problem: str) -> None:
    """FAULTS D12: unknown shapes are named, with what is accepted."""
    with pytest.raises(CorpusError, match=problem) as caught:
        conversation_of(Record(record, "x:1"))
    assert caught.value.fix
    if "keys" in problem:
        assert '{"messages": [{"role": "user", "content": "Hi"}' in caught.value.fix


def test_the_shapes_of_the_example_are_accepted(tmp_path: Path) -> None:
    """What an error tells a user to write is right."""
    with pytest.raises(CorpusError) as caught:
        conversation_of(Record({"text": "a"}, "x:1"))
    assert caught.value.fix is not None
    example = json.loads(caught.value.fix.removeprefix("write "))
    assert conversation_of(Record(example, "x:1"))[0] == "messages"
