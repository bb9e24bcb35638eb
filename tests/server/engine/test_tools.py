from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingot.server.engine.tools import ToolReader, written_call
from ingot.server.schemas.chat import MadeToolCall


def read(pieces: list[str]) -> tuple[str, list[MadeToolCall]]:
    reader = ToolReader()
    text, calls = "", []
    for piece in pieces:
        said, found = reader.push(piece)
        text += said
        calls += found
    return text + reader.flush(), calls


def cut(text: str, offsets: list[int]) -> list[str]:
    borders = [0, *sorted(offset % (len(text) + 1) for offset in offsets), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(borders)]


@example("", {"": -(1 << 63) - 1}, [])  # an integer that fits no machine word
@given(
    st.text(alphabet="<tol_ca>/ x", max_size=10),  # too short for an opening of its own
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=3),
    st.lists(st.integers(0, 1000), max_size=8),
)
def test_a_call_is_found_however_the_text_is_cut(
    around: str, arguments: dict[str, int], offsets: list[int]
) -> None:
    text = around + written_call("area", json.dumps(arguments)) + around
    said, calls = read(cut(text, offsets))
    assert said == around + around.lstrip()
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("area", arguments)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "a < b",
        "<tool_call",
        "<tool_call>{",
        "<tool_call>no json</tool_call>",
        '<tool_call>{"name": 3, "arguments": {}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": []}</tool_call>',
        "<tool_call>[]</tool_call> after",
        '<tool_call>{"name": "f", "arguments": {"x": NaN}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"x": 1e999}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"x": 1' + "0" * 5000 + "}}</tool_call>",
        '<tool_call>{"name": "f", "arguments": {"x": ' + "[" * 2000 + "]" * 2000 + "}}</tool_call>",
        "</tool_call>",
    ],
)
def test_what_is_no_call_is_text(text: str) -> None:
    assert read([text]) == (text, [])
    assert read(list(text)) == (text, [])


def test_many_calls_have_numbers_and_names_of_their_own() -> None:
    text = "Well.\n" + written_call("f", "{}") + "\n" + written_call("g", '{"x": 1}')
    said, calls = read(list(text))
    assert said == "Well.\n"
    assert [(call.index, call.function.name) for call in calls] == [(0, "f"), (1, "g")]
    assert calls[0].id != calls[1].id


def test_text_is_not_held_back_without_need() -> None:
    assert ToolReader().push("hello <b")[0] == "hello <b"
    assert ToolReader().push("hello <to")[0] == "hello "
