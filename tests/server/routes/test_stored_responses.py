"""Stored responses through the official client: continued, read, listed, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key

ASKED: dict[str, Any] = {"model": "tiny", "max_output_tokens": 6, "temperature": 0}
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "area",
    "parameters": {
        "type": "object",
        "properties": {"unit": {"enum": ["m", "ft"]}},
        "required": ["unit"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.mark.parametrize("stream", [False, True])
def test_a_stored_turn_is_the_same_as_the_conversation_sent_again(
    client: openai.OpenAI, stream: bool
) -> None:
    """FAULTS C1 and C13: ``input += response.output`` equals ``previous_response_id``."""

    def ask(**fields: Any) -> Any:
        if not stream:
            return client.responses.create(**ASKED, **fields)
        return list(client.responses.create(**ASKED, **fields, stream=True))[-1].response

    first = ask(input="Write area.", instructions="In code.")
    assert first.store
    said: list[Any] = [{"role": "user", "content": "Write area."}, *first.output]
    said.append({"role": "user", "content": "Go on."})
    second = ask(input="Go on.", previous_response_id=first.id)
    sent = ask(input=said, store=False)
    assert second.usage.input_tokens == sent.usage.input_tokens  # instructions are not inherited
    assert second.output_text == sent.output_text
    third = ask(input="And?", previous_response_id=second.id)
    said += [*sent.output, {"role": "user", "content": "And?"}]
    assert third.usage.input_tokens == ask(input=said).usage.input_tokens
    as_dicts = [item if isinstance(item, dict) else item.model_dump() for item in said]
    assert third.usage.input_tokens == ask(input=as_dicts).usage.input_tokens


def test_a_call_and_its_result_are_a_turn(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "tools": [TOOL], "parallel_tool_calls": False}
    first = client.responses.create(**asked, input="Write area.", tool_choice="required")
    call = first.output[0]
    assert call.type == "function_call"
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "6"}
    short = {"max_output_tokens": 4, "temperature": 0}
    stored = client.responses.create(
        **asked, **short, input=[result], previous_response_id=first.id
    )
    whole: list[Any] = [{"role": "user", "content": "Write area."}, *first.output, result]
    sent = client.responses.create(**asked, **short, input=whole)
    dumped = [item if isinstance(item, dict) else item.model_dump() for item in whole]
    again = client.responses.create(**asked, **short, input=dumped)
    referred: list[Any] = [{"type": "item_reference", "id": call.id}, result]
    by_reference = client.responses.create(**asked, **short, input=[whole[0], *referred])
    assert stored.output_text == sent.output_text == again.output_text == by_reference.output_text
    chat = client.chat.completions.create(
        model="tiny",
        max_tokens=4,
        temperature=0,
        tools=[
            {
                "type": "function",
                "function": {"name": "area", "parameters": TOOL["parameters"], "strict": True},
            }
        ],
        messages=[
            {"role": "user", "content": "Write area."},
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": call.call_id,
                        "type": "function",
                        "function": {"name": "area", "arguments": call.arguments},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": call.call_id, "content": "6"},
        ],
    )
    assert stored.usage is not None
    assert chat.usage is not None
    assert stored.usage.input_tokens == chat.usage.prompt_tokens


def test_read_list_and_delete(client: openai.OpenAI) -> None:
    """FAULTS C13: ``GET`` and ``DELETE /v1/responses/{id}``, ``/input_items``."""
    first = client.responses.create(**ASKED, input="Write area.", metadata={"run": "7"})
    second = client.responses.create(**ASKED, input="Go on.", previous_response_id=first.id)
    read = client.responses.retrieve(first.id)
    assert read.model_dump() == first.model_dump()
    assert read.metadata == {"run": "7"}
    items = list(client.responses.input_items.list(second.id, limit=1, order="asc"))
    assert [item.type for item in items] == ["message"] * 3
    assert items[1].id == first.output[0].id
    assert items[2].content[0].text == "Go on."  # type: ignore[union-attr]
    newest = client.responses.input_items.list(second.id).data
    assert [item.id for item in newest] == [item.id for item in items][::-1]
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**ASKED, input="And?", previous_response_id=second.id)
    assert refused.value.code == "previous_response_not_found"


@pytest.mark.parametrize(
    ("query", "param"), [("limit=0", "limit"), ("order=up", "order"), ("after=x", "after")]
)
def test_a_wrong_query_is_named(http: httpx.Client, query: str, param: str) -> None:
    stored = http.post("/v1/responses", json=ASKED | {"input": "a"}).json()["id"]
    response = http.get(f"/v1/responses/{stored}/input_items?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert http.get(f"/v1/responses/{stored}?stream=true").status_code == 400
    assert http.get(f"/v1/responses/{stored}?mood=1").status_code == 400


@pytest.fixture(scope="module")
def keyed(
    ingot: Ingot, engine: EngineLoop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[openai.OpenAI, openai.OpenAI]]:
    """Clients with two keys of one server."""
    path: Path = tmp_path_factory.mktemp("keys") / "keys.toml"
    (alice, first), (bob, second) = map(make_key, ("alice", "bob"))
    path.write_text(first + second)
    path.chmod(0o600)
    with Server(ingot, engine, ServerConfig(port=0, api_keys=path)) as server:
        url = f"{server.url}/v1"
        with (
            openai.OpenAI(base_url=url, api_key=alice) as one,
            openai.OpenAI(base_url=url, api_key=bob) as other,
        ):
            yield one, other


def test_a_key_sees_its_own_responses_alone(keyed: tuple[openai.OpenAI, openai.OpenAI]) -> None:
    alice, bob = keyed
    stored = alice.responses.create(**ASKED, input="a")
    assert alice.responses.retrieve(stored.id).id == stored.id
    reference: Any = [{"type": "item_reference", "id": stored.output[0].id}]
    for attempt in (
        lambda: bob.responses.retrieve(stored.id),
        lambda: bob.responses.delete(stored.id),
        lambda: bob.responses.input_items.list(stored.id),
        lambda: bob.responses.create(**ASKED, input="b", previous_response_id=stored.id),
        lambda: bob.responses.create(**ASKED, input=reference),
    ):
        with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
            attempt()
    alice.responses.delete(stored.id)


def test_what_is_not_to_be_stored_is_not(client: openai.OpenAI) -> None:
    answer = client.responses.create(**ASKED, input="a", store=False)
    assert answer.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)


def test_a_server_that_stores_nothing(ingot: Ingot, engine: EngineLoop) -> None:
    config = ServerConfig(port=0, response_store_bytes=0)
    with (
        Server(ingot, engine, config) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client,
    ):
        answer = client.responses.create(**ASKED, input="a")
        assert answer.store is False
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(answer.id)
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(**ASKED, input="a", store=True)
        assert refused.value.param == "store"
