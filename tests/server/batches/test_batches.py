"""Batches as OpenAI's client sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from ingot.server.access.api_keys import make_key
from tests.server.batches.conftest import Client, MakeServer, jsonl, line


def test_each_request_is_answered_once_as_its_route_would(client: Client) -> None:
    lines = [line(f"r{index}", prompt="def"[: 1 + index % 3]) for index in range(200)]
    batch = client.begin(lines, metadata={"of": "a test"})
    assert batch.status in ("validating", "in_progress")
    batch = client.wait(batch.id)
    assert batch.status == "completed"
    assert batch.request_counts.model_dump() == {"total": 200, "completed": 200, "failed": 0}
    assert batch.metadata == {"of": "a test"}
    assert batch.error_file_id is None
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    results = client.results(batch.output_file_id)
    assert results.keys() == {f"r{index}" for index in range(200)}
    for index in range(3):
        live = client.openai.completions.create(
            model="tiny", prompt=lines[index]["body"]["prompt"], max_tokens=4, temperature=0
        )
        for same in range(index, 200, 3):
            response = results[f"r{same}"]["response"]
            assert results[f"r{same}"]["error"] is None
            assert response["status_code"] == 200
            assert response["body"]["choices"][0]["text"] == live.choices[0].text
            assert response["body"]["usage"]["prompt_tokens"] == live.usage.prompt_tokens


def test_errors_are_in_a_file_of_their_own(client: Client) -> None:
    lines = [
        line("good"),
        line("unknown field", colour="red"),
        line("wrong type", max_tokens="4"),
        line("no such model", model="gpt-9"),
        line("too long", prompt="def " * 3000),
        line("streamed", stream=True),
    ]
    batch = client.wait(client.begin(lines).id)
    assert batch.status == "completed"
    assert batch.request_counts.model_dump() == {"total": 6, "completed": 1, "failed": 5}
    assert client.results(batch.output_file_id).keys() == {"good"}
    errors = client.results(batch.error_file_id)
    assert errors.keys() == {one["custom_id"] for one in lines[1:]}
    for one in lines[1:-1]:
        with pytest.raises(openai.APIStatusError) as live:
            client.openai.post("/completions", body=one["body"], cast_to=object)
        response = errors[one["custom_id"]]["response"]
        assert response["status_code"] == live.value.status_code
        assert response["body"] == live.value.response.json()
    assert errors["streamed"]["response"]["body"]["error"]["param"] == "stream"


@pytest.mark.parametrize(
    ("endpoint", "body", "name"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, "choices"),
        ("/v1/embeddings", {"input": "def"}, "data"),
        ("/v1/responses", {"input": "hi"}, "output"),
    ],
)
def test_other_endpoints(client: Client, endpoint: str, body: dict[str, Any], name: str) -> None:
    limits: dict[str, Any] = {
        "/v1/chat/completions": {"max_tokens": 3, "temperature": 0},
        "/v1/responses": {"max_output_tokens": 3, "temperature": 0},
    }.get(endpoint, {})
    one = {
        "custom_id": "a",
        "method": "POST",
        "url": endpoint,
        "body": {"model": "tiny"} | body | limits,
    }
    batch = client.wait(client.begin([one], endpoint).id)
    assert batch.status == "completed", batch
    result = client.results(batch.output_file_id)["a"]
    assert result["response"]["body"][name]


@pytest.mark.parametrize(
    ("content", "code", "number"),
    [
        (b"", "empty_file", None),
        (b"\n \n", "empty_file", None),
        (jsonl([line("a"), line("b"), line("a")]), "duplicate_custom_id", 3),
        (jsonl([line("a")]) + b"\n{nonsense\n", "invalid_json_line", 3),
        (b"[1]\n", "invalid_json_line", 1),
        (b'{"a": NaN}', "invalid_json_line", 1),
        (jsonl([line("")]), "missing_custom_id", 1),
        (jsonl([line("a", url="/v1/embeddings")]), "invalid_url", 1),
        (jsonl([line("a") | {"method": "GET"}]), "invalid_method", 1),
        (jsonl([line("a") | {"body": []}]), "invalid_body", 1),
        (jsonl([line("a") | {"priority": 1}]), "unknown_field", 1),
        (b'{"x": "' + b"x" * 1_100_000 + b'"}\n', "line_too_long", 1),
        (b" " * 1_100_000 + b"\n", "line_too_long", 1),
    ],
)
def test_an_input_that_is_not_one_fails_the_batch(
    client: Client, content: bytes, code: str, number: int | None
) -> None:
    file = client.openai.files.create(file=("in.jsonl", content), purpose="batch")
    batch = client.openai.batches.create(
        input_file_id=file.id, endpoint="/v1/completions", completion_window="24h"
    )
    batch = client.wait(batch.id)
    assert batch.status == "failed"
    assert (batch.errors.data[0].code, batch.errors.data[0].line) == (code, number)
    assert batch.failed_at >= batch.created_at
    assert (batch.output_file_id, batch.error_file_id) == (None, None)


def test_too_many_lines_fail_the_batch(serve: MakeServer) -> None:
    with serve(batch_lines=3) as client:
        batch = client.wait(client.begin([line(str(index)) for index in range(4)]).id)
    assert batch.errors.data[0].code == "too_many_requests"


def test_blank_lines_are_bounded_and_delay_no_other_key(serve: MakeServer, tmp_path: Path) -> None:
    keys = {name: make_key(name) for name in ("alice", "bob")}
    path = tmp_path / "keys.toml"
    path.write_text("\n".join(entry for _, entry in keys.values()))
    path.chmod(0o600)
    with serve(api_keys=path) as served:
        url = str(served.openai.base_url).removesuffix("/v1/")
        alice, bob = (Client(url, key) for key, _ in keys.values())
        file = alice.openai.files.create(file=("in", b"\n" * 5_000_000), purpose="batch")
        begun = [
            alice.openai.batches.create(
                input_file_id=file.id, endpoint="/v1/completions", completion_window="24h"
            )
            for _ in range(16)
        ]
        theirs = bob.openai.files.create(file=("b", b"abc"), purpose="batch")
        assert bob.openai.files.content(theirs.id).content == b"abc"
        assert bob.wait(bob.begin([line("a")]).id).status == "completed"
        ended = [alice.wait(one.id) for one in begun]
    for batch in ended:
        assert batch.status == "failed"
        (error,) = batch.errors.data
        assert (error.code, error.line) == ("too_many_requests", 50_001)
        assert "blank ones included" in error.message


def test_a_cancelled_batch_keeps_what_was_answered(client: Client) -> None:
    lines = [line(f"r{n}", max_tokens=30, ignore_eos=True) for n in range(3000)]
    batch = client.begin(lines)
    client.wait(batch.id, lambda one: one.request_counts.completed > 0)
    batch = client.openai.batches.cancel(batch.id)
    assert batch.status in ("cancelling", "cancelled")
    batch = client.wait(batch.id)
    assert batch.status == "cancelled"
    assert batch.cancelling_at <= batch.cancelled_at
    results = client.results(batch.output_file_id)
    assert 0 < len(results) == batch.request_counts.completed < 3000
    again = client.openai.batches.cancel(batch.id)
    assert again.status == "cancelled"


def test_what_is_not_answered_in_time_expires(client: Client) -> None:
    lines = [line(f"r{n}", max_tokens=100, ignore_eos=True) for n in range(3000)]
    batch = client.wait(client.begin(lines, completion_window="3s").id)
    assert batch.status == "expired"
    assert batch.expires_at == batch.created_at + 3 <= batch.expired_at
    results = client.results(batch.output_file_id)
    errors = client.results(batch.error_file_id)
    assert results.keys() | errors.keys() == {f"r{n}" for n in range(3000)}
    assert len(results) + len(errors) == 3000
    assert batch.request_counts.model_dump() == {
        "total": 3000,
        "completed": len(results),
        "failed": len(errors),
    }
    assert {one["error"]["code"] for one in errors.values()} == {"batch_expired"}
    assert {one["response"] for one in errors.values()} == {None}


def test_a_stopped_server_resumes_its_batches(serve: MakeServer) -> None:
    lines = [line(f"r{n}", max_tokens=8, ignore_eos=True) for n in range(400)]
    with serve() as client:
        batch = client.begin(lines)
        client.wait(batch.id, lambda one: one.request_counts.completed > 0)
    with serve() as client:
        found = client.openai.batches.retrieve(batch.id)
        assert found.request_counts.total == 400
        batch = client.wait(batch.id)
        assert batch.status == "completed"
        results = client.results(batch.output_file_id)
    assert results.keys() == {f"r{n}" for n in range(400)}


def test_batches_of_a_model_that_is_not_there_yet_are_resumed(serve: MakeServer) -> None:
    with serve() as client:
        batch = client.begin([line("a"), line("b", model="other")])
        client.wait(batch.id)
        listed = [one.id for one in client.openai.batches.list()]
    with serve() as client:
        assert [one.id for one in client.openai.batches.list()] == listed == [batch.id]


def test_only_so_many_batches_of_a_key_are_open(serve: MakeServer) -> None:
    lines = [line(f"r{n}", max_tokens=400, ignore_eos=True) for n in range(2000)]
    with serve(batch_key_batches=2) as client:
        batches = [client.begin(lines) for _ in range(2)]
        with pytest.raises(openai.RateLimitError, match="2 batches have not ended"):
            client.begin(lines)
        for batch in batches:
            client.openai.batches.cancel(batch.id)
            client.wait(batch.id)
        client.openai.batches.cancel(client.begin(lines).id)


def test_batches_are_listed_page_by_page(client: Client) -> None:
    made = [client.begin([line("a")]).id for _ in range(5)]
    listed = [one.id for one in client.openai.batches.list(limit=2)]
    assert sorted(listed) == sorted(made)
    with pytest.raises(openai.BadRequestError, match="after"):
        client.openai.batches.list(after="batch_x")
    for batch_id in made:
        client.wait(batch_id)


@pytest.mark.parametrize(
    ("changed", "status", "param"),
    [
        ({"completion_window": "tomorrow"}, 400, "completion_window"),
        ({"completion_window": "31d"}, 400, "completion_window"),
        ({"input_file_id": "file-1"}, 404, "input_file_id"),
        ({"endpoint": "/v1/audio"}, 400, "endpoint"),
        ({"extra": 1}, 400, "extra"),
        ({"metadata": {"a": "x" * 513}}, 400, "metadata"),
    ],
)
def test_a_batch_that_is_not_one_is_refused(
    client: Client, changed: dict[str, Any], status: int, param: str
) -> None:
    file = client.openai.files.create(file=("in.jsonl", jsonl([line("a")])), purpose="batch")
    body = {
        "input_file_id": file.id,
        "endpoint": "/v1/completions",
        "completion_window": "24h",
    }
    with pytest.raises(openai.APIStatusError) as caught:
        client.openai.post("/batches", body=body | changed, cast_to=object)
    assert (caught.value.status_code, caught.value.body["param"]) == (status, param)  # type: ignore[index]


def test_results_are_no_input(client: Client) -> None:
    batch = client.wait(client.begin([line("a")]).id)
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.openai.batches.create(
            input_file_id=batch.output_file_id,
            endpoint="/v1/completions",
            completion_window="24h",
        )


def test_without_a_folder_there_are_no_batches(serve: MakeServer) -> None:
    with serve(batches=None) as client:
        for call in (client.openai.batches.list, client.openai.files.list):
            with pytest.raises(openai.NotFoundError):
                call()


def test_metrics(client: Client) -> None:
    client.wait(client.begin([line("a"), line("b", model="other")]).id)
    url = str(client.openai.base_url).removesuffix("v1/")
    text = httpx.get(f"{url}metrics").text
    wanted = {
        'ingot:batches{status="completed"} 1.0',
        "ingot:batch_requests_open 0.0",
        'ingot:batch_requests_total{outcome="completed"} 1.0',
        'ingot:batch_requests_total{outcome="failed"} 1.0',
    }
    assert wanted <= set(text.splitlines())
    assert "ingot:batch_file_bytes 0.0" not in text
    assert "ingot:background_steps_total" in text
    assert "vllm:e2e_request_latency_seconds_count" not in text, "of clients alone"
