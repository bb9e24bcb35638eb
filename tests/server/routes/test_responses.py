from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from ingot.artifact import Ingot

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
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"tools": []}, "tools"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"text": {"format": {"type": "xml"}}}, "text"),
    ],
)
def test_a_wrong_field_is_named(http: httpx.Client, fields: dict[str, Any], param: str) -> None:
    response = http.post("/v1/responses", json=ASKED | fields)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
