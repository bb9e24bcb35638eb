from __future__ import annotations

import json
import re
from typing import Any

import httpx
import openai
import pytest

from ingot.artifact import Ingot

TOOL: dict[str, Any] = {
    "type": "function",
    "name": "area",
    "description": "The area of a rectangle.",
    "parameters": {
        "type": "object",
        "properties": {"unit": {"enum": ["m", "ft"]}},
        "required": ["unit"],
        "additionalProperties": False,
    },
    "strict": True,
}
ASKED: dict[str, Any] = {"model": "tiny", "input": "Write area.", "max_output_tokens": 20}


def test_plain_and_streamed_equal_the_chat(client: openai.OpenAI, ingot: Ingot) -> None:
    chat = client.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "system", "content": "In code."},
            {"role": "user", "content": "Write area."},
        ],
        max_tokens=20,
        temperature=0,
    )
    asked = ASKED | {"temperature": 0, "instructions": "In code."}
    plain = client.responses.create(**asked)
    assert plain.output_text == chat.choices[0].message.content
    assert (
        plain.status == "incomplete" if chat.choices[0].finish_reason == "length" else "completed"
    )
    assert plain.usage is not None
    assert chat.usage is not None
    assert plain.usage.input_tokens == chat.usage.prompt_tokens
    assert plain.usage.output_tokens == chat.usage.completion_tokens
    assert plain.model_dump()["system_fingerprint"] == ingot.digest
    events = list(client.responses.create(**asked, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        f"response.{plain.status}",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == plain.output_text
    last = events[-1]
    assert last.response.output_text == plain.output_text  # type: ignore[union-attr]


def test_a_conversation_as_input(client: openai.OpenAI) -> None:
    said: list[Any] = [
        {"role": "developer", "content": "In code."},
        {"role": "user", "content": [{"type": "input_text", "text": "Write area."}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "def area"}]},
        {"role": "user", "content": "Go on."},
    ]
    answer = client.responses.create(model="tiny", input=said, max_output_tokens=4, temperature=0)
    assert answer.output[0].type == "message"


def test_a_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    answer = client.responses.create(
        model="tiny",
        input="Well?",
        text={"format": {"type": "json_schema", "name": "a", "schema": schema}},
    )
    assert json.loads(answer.output_text)["ok"] in (True, False)
    assert answer.status == "completed"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input"),
        ({"input": "x " * 4000}, "input"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "6"}]}, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, "input"),
        ({"input": [{"role": "user", "content": "a", "mood": 1}]}, "input"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
        ({"truncation": "auto"}, "truncation"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"include": ["everything"]}, "include"),
        ({"stream_options": {}}, "stream_options"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"text": {"format": {"type": "xml"}}}, "text"),
    ],
)
def test_a_wrong_field_is_named(http: httpx.Client, fields: dict[str, Any], param: str) -> None:
    response = http.post("/v1/responses", json=ASKED | fields)
    assert response.status_code == 400, response.text
    assert re.split(r"[.\[]", response.json()["error"]["param"])[0] == param


HARMLESS: list[dict[str, Any]] = [
    {"metadata": {"a": "b"}, "service_tier": "auto", "prompt_cache_key": "k"},
    {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
    {"text": {"format": {"type": "text"}, "verbosity": "low"}, "truncation": "disabled"},
    {"tools": [], "tool_choice": "auto", "max_tool_calls": 3, "background": False},
    {"conversation": None, "prompt": None, "safety_identifier": "u"},
]


@pytest.mark.parametrize("fields", HARMLESS, ids=str)
def test_fields_that_every_client_may_send(http: httpx.Client, fields: dict[str, Any]) -> None:
    """FAULTS C13: standard fields of ``/v1/responses``."""
    response = http.post("/v1/responses", json=ASKED | {"max_output_tokens": 1} | fields)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["service_tier"] == "default"
    for name in ("metadata", "prompt_cache_key", "safety_identifier", "max_tool_calls"):
        assert answer[name] == fields.get(name, {} if name == "metadata" else None)


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "name": "area"},
        {
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "function", "name": "area"}],
        },
    ],
    ids=["any", "named", "allowed"],
)
def test_a_call_is_made_and_streamed(client: openai.OpenAI, choice: Any) -> None:
    """FAULTS C13: ``/v1/responses`` with ``tools``."""
    asked: dict[str, Any] = {
        "model": "tiny",
        "input": "Write area.",
        "tools": [TOOL],
        "tool_choice": choice,
        "parallel_tool_calls": False,
        "extra_body": {"seed": 3},
    }
    plain = client.responses.create(**asked)
    [call] = plain.output
    assert call.type == "function_call"
    assert call.name == "area"
    assert json.loads(call.arguments)["unit"] in ("m", "ft")
    assert plain.status == call.status == "completed"
    assert plain.tools[0].model_dump(exclude_unset=True) == TOOL
    with client.responses.stream(**asked) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert kinds[-3:] == [
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    deltas = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert "".join(deltas) == call.arguments == final.output[0].arguments  # type: ignore[union-attr]
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_log_probabilities(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = ASKED | {"temperature": 0, "top_logprobs": 2}
    asked["include"] = ["message.output_text.logprobs"]
    part = client.responses.create(**asked).output[0].content[0]  # type: ignore[union-attr]
    said = b"".join(bytes(entry.bytes) for entry in part.logprobs or ())  # type: ignore[union-attr]
    assert said.decode(errors="replace") == part.text  # type: ignore[union-attr]
    assert {len(entry.top_logprobs) for entry in part.logprobs or ()} == {2}  # type: ignore[union-attr]
    events = list(client.responses.create(**asked, stream=True))
    streamed = [
        entry.logprob
        for event in events
        if event.type == "response.output_text.delta"
        for entry in event.logprobs
    ]
    assert streamed == [entry.logprob for entry in part.logprobs or ()]  # type: ignore[union-attr]


def test_tokens_of_an_input_are_counted(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "input": "Write area.", "instructions": "In code."}
    counted = client.responses.input_tokens.count(**asked)
    answer = client.responses.create(**asked, max_output_tokens=1)
    assert answer.usage is not None
    assert counted.input_tokens == answer.usage.input_tokens


def test_a_stream_that_fails_says_so_and_is_not_stored(http: httpx.Client) -> None:
    """The request's own time limit ends it after its stream has begun."""
    asked = ASKED | {"max_output_tokens": 1500, "ignore_eos": True, "stream": True}
    for timeout in (0.5, 0.2, 0.1, 0.05, 0.02):  # a busy machine may answer before any output
        with http.stream("POST", "/v1/responses", json=asked | {"timeout": timeout}) as response:
            lines = [line[6:] for line in response.iter_lines() if line.startswith("data: ")]
        events = [json.loads(line) for line in lines]
        if events and events[-1]["type"] == "response.failed":
            break
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["code"] == "deadline_exceeded"
    failed = events[-1]["response"]
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == "server_error"
    assert http.get(f"/v1/responses/{failed['id']}").status_code == 404
