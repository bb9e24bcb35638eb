"""Every answer goes back in as history, as the official client holds it."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState

USER: dict[str, Any] = {"role": "user", "content": "Write area."}
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"unit": {"enum": ["m", "ft"]}},
    "required": ["unit"],
    "additionalProperties": False,
}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "area", "parameters": PARAMETERS}}
CALL: dict[str, Any] = {
    "id": "c1",
    "type": "function",
    "function": {"name": "area", "arguments": "{}"},
}


def result_of(call: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call.id, "name": "area", "content": "6"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("form", ["object", "dict"])
@pytest.mark.parametrize("calls", [False, True])
def test_an_answer_of_chat_is_history(
    client: openai.OpenAI, stream: bool, form: str, calls: bool
) -> None:
    """FAULTS C1: the server refuses its own answers as history."""
    choice = "required" if calls else "auto"
    asked: dict[str, Any] = {"model": "tiny", "seed": 3, "tools": [TOOL]}
    asked |= {"parallel_tool_calls": False} if calls else {"max_tokens": 20}
    messages: list[Any] = [USER]
    if stream:
        state = ChatCompletionStreamState()
        chunks = client.chat.completions.create(
            **asked, messages=messages, tool_choice=choice, stream=True
        )
        for chunk in chunks:
            state.handle_chunk(chunk)
        answer = state.current_completion_snapshot.choices[0].message
    else:
        answer = (
            client.chat.completions.create(**asked, messages=messages, tool_choice=choice)
            .choices[0]
            .message
        )
    assert bool(answer.tool_calls) == calls
    messages.append(answer if form == "object" else answer.model_dump())
    messages += [result_of(call) for call in answer.tool_calls or ()] or [USER]
    second = client.chat.completions.create(
        **asked | {"max_tokens": 2}, messages=messages, tool_choice="none"
    )
    assert second.choices[0].finish_reason in ("stop", "length")


NULL_OR_EMPTY: list[dict[str, Any]] = [
    {"content": None},
    {"content": ""},
    {"content": []},
    {"content": "a", "tool_calls": []},
    {"content": "a", "tool_calls": None, "function_call": None, "audio": None},
    {"content": "a", "annotations": []},
    {"content": "a", "annotations": None, "refusal": None},
    {"content": None, "refusal": "I will not."},
    {"content": [{"type": "refusal", "refusal": "I will not."}]},
    {"content": None, "tool_calls": [CALL | {"index": 0}]},
    {"tool_calls": [CALL | {"function": {"name": "area", "arguments": ""}}]},
]


@pytest.mark.parametrize("said", NULL_OR_EMPTY, ids=str)
def test_what_openai_allows_as_null_or_empty_is_taken(
    http: httpx.Client, said: dict[str, Any]
) -> None:
    """FAULTS C1: null and empty fields of an assistant's message."""
    messages = [USER, {"role": "assistant"} | said, USER]
    body = {"model": "tiny", "messages": messages, "max_tokens": 1}
    response = http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text


def test_a_refusal_is_what_the_model_said(http: httpx.Client) -> None:
    def tokens(message: dict[str, Any]) -> list[int]:
        body = {"model": "tiny", "messages": [USER, {"role": "assistant"} | message]}
        return list(http.post("/tokenize", json=body).json()["tokens"])

    assert tokens({"refusal": "No."}) == tokens({"content": "No."})
    assert tokens({"content": [{"type": "refusal", "refusal": "No."}]}) == tokens(
        {"content": "No."}
    )
    assert tokens({"content": None}) == tokens({"content": ""}) != tokens({"content": "No."})


def test_a_completion_is_a_prompt_and_tokens_are_text(client: openai.OpenAI) -> None:
    """FAULTS C1: the answers of the other routes."""
    asked: dict[str, Any] = {"model": "tiny", "max_tokens": 4, "logprobs": 1}
    first = client.completions.create(**asked, prompt="def").choices[0].text
    assert client.completions.create(**asked, prompt="def" + first).choices[0].finish_reason
    said = client.post(
        "/../tokenize", cast_to=httpx.Response, body={"model": "tiny", "prompt": "ab"}
    )
    tokens = said.json()["tokens"]
    assert client.embeddings.create(model="tiny", input=tokens).usage.prompt_tokens == len(tokens)
    assert client.models.retrieve(client.models.list().data[0].id).id == "tiny"
