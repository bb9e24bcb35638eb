from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingot.model.tool_text import written_call
from ingot.server.engine.tool_reader import CallArguments, CallEnded, ToolReader, joined
from ingot.server.schemas.chat import MadeToolCall


def read(
    pieces: list[str], *, single: bool = False, cut: bool = False, streamed: tuple[str, ...] = ()
) -> tuple[str, list[MadeToolCall]]:
    reader = ToolReader(single, streamed)
    parts = [part for piece in pieces for part in reader.push(piece)]
    return joined([*parts, *reader.flush(cut=cut)])


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
    assert ToolReader().push("hello <b") == ["hello <b"]
    assert ToolReader().push("hello <to") == ["hello "]


ENDS = ["</tool_call>", '"}</tool_call>', "\\", '\\"', "<tool_call>", "{[", "]}", "é\U0001f600"]


@given(
    st.dictionaries(st.sampled_from(ENDS), st.lists(st.sampled_from(ENDS), max_size=3), max_size=3),
    st.booleans(),
    st.lists(st.integers(0, 1000), max_size=8),
)
def test_a_call_ends_with_its_value_and_not_with_a_text_in_it(
    arguments: dict[str, list[str]], escapes: bool, offsets: list[int]
) -> None:
    """FAULTS C3: an argument may hold the closing tag."""
    written = json.dumps(arguments, ensure_ascii=escapes)
    text = written_call("f", written) + "\n" + written_call("g", "{}")
    said, calls = read(cut(text, offsets))
    assert said == ""
    assert [call.function.name for call in calls] == ["f", "g"]
    assert calls[0].function.arguments == written


def test_a_call_that_is_cut_leaks_no_markup() -> None:
    """FAULTS C3: wherever the length ends the answer."""
    call = written_call("f", '{"x": "</tool_call>"}')
    whole = len(call) - len("\n</tool_call>")
    for end in range(1, len(call)):
        said, calls = read(list("Well. " + call[:end]), cut=True)
        assert (said.strip(), len(calls)) == ("Well.", int(end >= whole)), call[:end]


def test_half_a_call_is_text_where_the_model_ended_it() -> None:
    assert read(['<tool_call>\n{"name": "f"']) == ('<tool_call>\n{"name": "f"', [])
    assert read(["a <"]) == ("a <", [])


def test_a_single_call_ends_the_answer() -> None:
    """FAULTS C9: never a second call, and nothing after the first."""
    text = "Well. " + (written_call("f", "{}") + "\nAnd ") * 3
    for pieces in ([text], list(text)):
        said, calls = read(pieces, single=True)
        assert (said, [call.function.name for call in calls]) == ("Well. ", ["f"])


@pytest.mark.parametrize("number", ["9007199254740993", "1.0", "1e2", "0.1000000000000000055511"])
def test_numbers_stay_as_they_are_written(number: str) -> None:
    """FAULTS C6."""
    _, (call,) = read([written_call("f", '{"x":  ' + number + "}")])
    assert call.function.arguments == '{"x":  ' + number + "}"


def test_long_arguments_are_read_once() -> None:
    reader = ToolReader()
    reader.push('<tool_call>{"name": "f", "arguments": {"x": "')
    for _ in range(20_000):
        assert reader.push('text \\" ') == []
    assert len(joined(reader.push('"}}</tool_call>'))[1]) == 1


@given(
    st.text(alphabet="<tol_ca>/ x", max_size=10),
    st.dictionaries(st.sampled_from(ENDS), st.lists(st.sampled_from(ENDS), max_size=3), max_size=3),
    st.lists(st.integers(0, 1000), max_size=8),
)
def test_a_streamed_call_is_the_same(
    around: str, arguments: dict[str, list[str]], offsets: list[int]
) -> None:
    """FAULTS C13: arguments in pieces, however the text is cut."""
    calls = [written_call(name, json.dumps(arguments)) for name in ("area", "other", "area")]
    text = around + "\n".join(calls) + around
    said, whole = read([text])
    for pieces in (cut(text, offsets), list(text)):
        streamed_said, streamed = read(pieces, streamed=("area",))
        assert streamed_said == said
        assert [call.function for call in streamed] == [call.function for call in whole]


def test_arguments_are_passed_on_as_they_arrive() -> None:
    """FAULTS C13: not only once the call is complete."""
    reader = ToolReader(streamed=("f",))
    assert len(reader.push('Well. <tool_call>\n{"name": "f", "arguments": {')) == 3
    assert reader.push('"x": "a') == [CallArguments(0, '"x": "a')]
    assert reader.push("\\") == []  # half an escape
    assert reader.push('"b"}}\n</tool_') == [
        CallArguments(0, '\\"b"}'),
        CallEnded(0, whole=True),
    ]
    assert reader.push("call>\nDone.") == ["Done."]


def test_a_streamed_call_that_is_cut_leaks_no_markup() -> None:
    call = written_call("f", '{"x": "</tool_call>"}')
    for end in range(1, len(call)):
        said, calls = read(list("Well. " + call[:end]), cut=True, streamed=("f",))
        assert said.strip() == "Well.", call[:end]
        begun = len('<tool_call>\n{"name": "f", "arguments": {')
        assert len(calls) == int(end >= begun), call[:end]
    reader = ToolReader(streamed=("f",))
    reader.push(call[:-20])
    assert reader.flush(cut=True)[-1] == CallEnded(0, whole=False)


@pytest.mark.parametrize("tail", ["}", "}</tool_call>", "}}", "}}</tool_call> x", "} x"])
def test_what_should_end_a_streamed_call_need_not_be_there(tail: str) -> None:
    said, (call,) = read(['<tool_call>{"name": "f", "arguments": {"x": 1' + tail], streamed=("f",))
    assert call.function.arguments == '{"x": 1}'
    assert said == ("x" if "x" in tail else "")
