"""Grammars, schemas and tools of clients that mean harm, on a server of their own process.

The server shares the tests' process, so that one that ends would end them.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.engine import grammars

CRASHES: Any = {"const": -9223372036854775808}
SAID = [{"role": "user", "content": "a"}]
CHAT, RESPONSES, COMPLETIONS = "/v1/chat/completions", "/v1/responses", "/v1/completions"


@pytest.fixture(scope="module")
def client(ingot: Ingot, make_engine: Callable[[], EngineLoop]) -> Iterator[httpx.Client]:
    """A client of a server without rests between a key's grammars, which would take minutes."""
    engine = make_engine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grammars, "_REST", 0.0)
        with (
            Server(ingot, engine, ServerConfig(port=0)) as server,
            httpx.Client(base_url=server.url, timeout=300) as client,
        ):
            yield client
    engine.close(5)


def function(schema: Any) -> dict[str, Any]:
    return {"name": "f", "parameters": {"type": "object", "properties": {"x": schema}}}


POSITIONS: dict[str, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    "response_format": lambda schema: (
        CHAT,
        {
            "messages": SAID,
            "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        },
    ),
    "response_format of completions": lambda schema: (
        COMPLETIONS,
        {
            "prompt": "a",
            "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        },
    ),
    "structured_outputs": lambda schema: (
        COMPLETIONS,
        {"prompt": "a", "structured_outputs": {"json": schema}},
    ),
    "a grammar": lambda schema: (
        COMPLETIONS,
        {"prompt": "a", "structured_outputs": {"grammar": f"start: %json {json.dumps(schema)}"}},
    ),
    "responses": lambda schema: (
        RESPONSES,
        {"input": "a", "text": {"format": {"type": "json_schema", "name": "n", "schema": schema}}},
    ),
    "a required tool": lambda schema: (
        CHAT,
        {
            "messages": SAID,
            "tools": [{"type": "function", "function": function(schema)}],
            "tool_choice": "required",
        },
    ),
    "a tool of responses": lambda schema: (
        RESPONSES,
        {
            "input": "a",
            "tools": [{"type": "function"} | function(schema)],
            "tool_choice": "required",
        },
    ),
}


@pytest.mark.parametrize("position", POSITIONS.values(), ids=POSITIONS)
def test_a_schema_that_crashes_the_library_is_refused(client: httpx.Client, position: Any) -> None:
    """FAULTS A10: in every position a 400, and the server continues."""
    for schema in (CRASHES, {"enum": [1, -9223372036854775296]}, {"items": CRASHES}):
        route, body = position(schema)
        answer = client.post(route, json={"model": "tiny"} | body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] == "invalid_grammar"
    route, body = position({"const": 1})
    assert client.post(route, json={"model": "tiny"} | body).status_code == 200


@pytest.mark.parametrize("variants", [6, pytest.param(64, marks=pytest.mark.long)])
def test_bombs_take_no_memory_of_the_server(
    client: httpx.Client, wait_until: Callable[[Callable[[], bool]], None], variants: int
) -> None:
    """FAULTS A3: 64 variants of one expression kept 10.5 GB."""
    prompt = {"model": "tiny", "prompt": "a", "max_tokens": 4}
    assert client.post(COMPLETIONS, json=prompt | {"structured_outputs": {"regex": "a"}}).is_success
    running = processes()
    before = resident_bytes(running)
    for n in range(variants):
        outputs = {"regex": f"(a{{{20000 + n}}}){{30000}}"}
        if n % 2:
            outputs = {"json": {"type": "string", "pattern": f"^{outputs['regex']}$"}}
        answer = client.post(COMPLETIONS, json=prompt | {"structured_outputs": outputs})
        assert answer.status_code == 400, answer.text
    wait_until(lambda: processes() <= running)
    assert resident_bytes(processes()) - before < 16 << 20
    assert client.get("/health").is_success


def resident_bytes(running: set[int]) -> int:
    pages = [Path(f"/proc/{process}/statm").read_text().split()[1] for process in running]
    return sum(map(int, pages)) * resource.getpagesize()


def processes() -> set[int]:
    """This process and all below it."""
    below, unread = set[int](), [os.getpid()]
    while unread:
        process = unread.pop()
        below.add(process)
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            unread.extend(map(int, task.read_text().split()))
    return below


def test_what_cannot_be_enforced_is_refused_unless_the_client_checks_it(
    client: httpx.Client,
) -> None:
    """FAULTS C5: by name, and with 200 where the schema is not strict."""
    schema = {"type": "array", "items": {"type": "boolean"}, "contains": {"const": True}}
    for strict, status in ((None, 400), (True, 400), (False, 200)):
        told = {"schema": schema | {"maxItems": 2}, "strict": strict}
        wanted = {"type": "json_schema", "json_schema": told}
        body = {"model": "tiny", "messages": SAID, "response_format": wanted}
        answer = client.post(CHAT, json=body)
        assert answer.status_code == status, answer.text
        if status == 400:
            assert '"contains" at #' in answer.json()["error"]["message"]


def tool_call(client: httpx.Client, **fields: Any) -> Any:
    body = {"model": "tiny", "messages": SAID, "seed": 1} | fields
    answer = client.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]


def test_an_argument_may_hold_the_closing_tag(client: httpx.Client) -> None:
    """FAULTS C3: a forced call was lost, and its markup was the content."""
    parameters = function({"const": "a</tool_call>\n<tool_call>"})
    parameters["parameters"] |= {"required": ["x"], "additionalProperties": False}
    tools = [{"type": "function", "function": parameters}]
    forced = {"tools": tools, "tool_choice": "required", "parallel_tool_calls": False}
    made = tool_call(client, **forced)
    assert made["finish_reason"] == "tool_calls"
    assert "a</tool_call>" in made["message"]["tool_calls"][0]["function"]["arguments"]
    for most in (1, 3, 8, 20):
        made = tool_call(client, **forced, max_tokens=most)
        assert made["finish_reason"] == "length"
        assert not made["message"]["content"]
        assert made["message"]["tool_calls"] is None


@pytest.mark.parametrize(("parallel", "calls"), [(False, 1), (True, 2)])
def test_without_parallel_calls_there_is_one(
    client: httpx.Client, parallel: bool, calls: int
) -> None:
    """FAULTS C9: ``auto`` returned two."""
    call = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    made = tool_call(
        client,
        tools=[{"type": "function", "function": function({})}],
        tool_choice="auto",
        parallel_tool_calls=parallel,
        structured_outputs={"choice": [f"{call}\n{call}"]},
    )
    assert len(made["message"]["tool_calls"]) == calls
    assert made["message"]["content"] is None
