"""Every wrong request gets one clear error in OpenAI's shape, and the server continues."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

URL = "/v1/completions"
GOOD: dict[str, Any] = {"model": "tiny", "prompt": "def", "max_tokens": 1}


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """Check the shape of an error and return what is inside."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    assert "\n" not in body["error"]["message"]
    return dict(body["error"])


WRONG_FIELDS: list[tuple[str, Any, str]] = [
    ("model", 3, "invalid_value"),
    ("prompt", None, "invalid_value"),
    ("prompt", 3, "invalid_value"),
    ("prompt", {"text": "a"}, "invalid_value"),
    ("prompt", [], "invalid_value"),
    ("prompt", "", "empty_prompt"),
    ("prompt", [[]], "empty_prompt"),
    ("prompt", ["def", ""], "empty_prompt"),
    ("prompt", ["def", 3], "invalid_value"),
    ("prompt", [3, "def"], "invalid_value"),
    ("prompt", [3, 2.5], "invalid_value"),
    ("prompt", [[3], [True]], "invalid_value"),
    ("prompt", [-1], "invalid_value"),
    ("prompt", [10**30], "invalid_value"),
    ("prompt", [100_000], "invalid_value"),
    ("prompt", ["def"] * 129, "invalid_value"),
    ("max_tokens", 0, "invalid_value"),
    ("max_tokens", -5, "invalid_value"),
    ("max_tokens", 1.5, "invalid_value"),
    ("max_tokens", "5", "invalid_value"),
    ("max_tokens", 10**30, "invalid_value"),
    ("max_tokens", True, "invalid_value"),
    ("temperature", -0.1, "invalid_value"),
    ("temperature", 10.5, "invalid_value"),
    ("temperature", "hot", "invalid_value"),
    ("temperature", float("nan"), "invalid_value"),
    ("temperature", float("inf"), "invalid_value"),
    ("top_p", 0, "invalid_value"),
    ("top_p", 1.01, "invalid_value"),
    ("top_p", float("-inf"), "invalid_value"),
    ("top_k", -1, "invalid_value"),
    ("top_k", 2.0, "invalid_value"),
    ("min_p", -0.01, "invalid_value"),
    ("min_p", 1.01, "invalid_value"),
    ("seed", 2**64, "invalid_value"),
    ("seed", "7", "invalid_value"),
    ("seed", float("nan"), "invalid_value"),
    ("stop", 3, "invalid_value"),
    ("stop", "", "invalid_value"),
    ("stop", ["a", ""], "invalid_value"),
    ("stop", ["a", 3], "invalid_value"),
    ("stop", [3], "invalid_value"),
    ("stop", ["a"] * 17, "invalid_value"),
    ("n", 0, "invalid_value"),
    ("n", 17, "invalid_value"),
    ("stream", "yes", "invalid_value"),
    ("stream", 1, "invalid_value"),
    ("stream_options", {"include_usage": True}, "invalid_value"),
    ("stream_options", {"include_usage": 1}, "invalid_value"),
    ("logprobs", 21, "invalid_value"),
    ("logprobs", -1, "invalid_value"),
    ("logprobs", True, "invalid_value"),
    ("ignore_eos", "no", "invalid_value"),
    ("echo", "yes", "invalid_value"),
    ("best_of", 0, "invalid_value"),
    ("best_of", 17, "invalid_value"),
    ("typical_p", 0, "invalid_value"),
    ("repetition_penalty", 0, "invalid_value"),
    ("repetition_penalty", float("nan"), "invalid_value"),
    ("presence_penalty", 2.1, "invalid_value"),
    ("frequency_penalty", float("-inf"), "invalid_value"),
    ("logit_bias", {"x": 1}, "invalid_value"),
    ("logit_bias", {"-1": 1}, "invalid_value"),
    ("logit_bias", {"1": 101}, "invalid_value"),
    ("logit_bias", {"1": float("nan")}, "invalid_value"),
    ("logit_bias", {"999": 1.0}, "invalid_value"),
    ("logit_bias", [1], "invalid_value"),
    ("logit_bias", {str(number): 1 for number in range(1025)}, "invalid_value"),
    ("stop_token_ids", [-1], "invalid_value"),
    ("stop_token_ids", [999], "invalid_value"),
    ("stop_token_ids", list(range(17)), "invalid_value"),
    ("priority", 2**31, "invalid_value"),
    ("priority", 1.5, "invalid_value"),
    ("timeout", 0, "invalid_value"),
    ("timeout", float("inf"), "invalid_value"),
    ("timeout", 10**30, "invalid_value"),
    ("cache_salt", "x" * 129, "invalid_value"),
    ("user", 3, "invalid_value"),
    ("response_format", {"type": "xml"}, "invalid_value"),
    ("response_format", {"type": "json_schema"}, "missing_field"),
    ("structured_outputs", {"regex": 3}, "invalid_value"),
    ("text", "def", "unknown_field"),
    ("suffix", "end", "invalid_value"),
    ("tools", [], "unknown_field"),
]


@pytest.mark.parametrize(("field", "value", "code"), WRONG_FIELDS, ids=lambda v: repr(v)[:24])
def test_a_wrong_field_is_named(http: httpx.Client, field: str, value: Any, code: str) -> None:
    body = json.dumps(GOOD | {field: value})
    response = http.post(URL, content=body, headers={"content-type": "application/json"})
    error = error_of(response, 400)
    assert (error["param"], error["code"]) == (field, code)
    assert error["type"] == "invalid_request_error"
    assert field in error["message"]


def test_a_misspelt_field_gets_the_nearest_right_name(http: httpx.Client) -> None:
    error = error_of(http.post(URL, json={"model": "tiny", "promt": "def"}), 400)
    assert error["param"] == "promt"
    assert 'did you mean "prompt"?' in error["message"]


def test_an_unknown_field_inside_stream_options(http: httpx.Client) -> None:
    options = {"include_usag": True}
    error = error_of(http.post(URL, json=GOOD | {"stream": True, "stream_options": options}), 400)
    assert error["param"] == "stream_options.include_usag"
    assert error["code"] == "unknown_field"


@pytest.mark.parametrize("missing", ["model", "prompt"])
def test_a_missing_field(http: httpx.Client, missing: str) -> None:
    body = {name: value for name, value in GOOD.items() if name != missing}
    error = error_of(http.post(URL, json=body), 400)
    assert (error["param"], error["code"]) == (missing, "missing_field")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"model": "tiny", }',
        b'{"model": "\xff"}',
        b'{"prompt": "\\ud800"}',
        b"[" * 20_000,
        b'{"a":' * 20_000,
        b'{"seed": 1' + b"0" * 5000 + b"}",
        b"\x00",
    ],
    ids=["empty", "cut", "comma", "utf8", "surrogate", "deep-list", "deep-dict", "huge", "nul"],
)
def test_bad_json(http: httpx.Client, body: bytes) -> None:
    response = http.post(URL, content=body, headers={"content-type": "application/json"})
    assert error_of(response, 400)["code"] == "invalid_json"


@pytest.mark.parametrize("body", ["[]", "3", "null", '"text"'])
def test_json_that_is_no_object(http: httpx.Client, body: str) -> None:
    response = http.post(URL, content=body, headers={"content-type": "application/json"})
    assert error_of(response, 400)["code"] == "invalid_type"


def test_another_content_type_is_refused(http: httpx.Client) -> None:
    headers = {"content-type": "text/plain"}
    response = http.post(URL, content=json.dumps(GOOD), headers=headers)
    assert "application/json" in error_of(response, 415)["message"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(http: httpx.Client, chunked: bool) -> None:
    body = json.dumps(GOOD | {"prompt": "a" * 1_000_000}).encode()
    content = (body[i : i + 65_536] for i in range(0, len(body), 65_536)) if chunked else body
    response = http.post(URL, content=content, headers={"content-type": "application/json"})
    error = error_of(response, 413)
    assert "1000000 bytes" in error["message"]
    assert error["code"] == "body_too_large"


@pytest.mark.parametrize(
    "prompt", ["x " * 3000, "\x01" * 3000, [5] * 2048], ids=["x", "bytes", "ids"]
)
def test_a_prompt_past_the_context_is_never_cut(
    http: httpx.Client, prompt: str | list[int], count_tokens: Any
) -> None:
    error = error_of(http.post(URL, json=GOOD | {"prompt": prompt}), 400)
    assert (error["param"], error["code"]) == ("prompt", "context_length_exceeded")
    assert f"{count_tokens(prompt)} tokens" in error["message"]
    assert "2048" in error["message"]


def test_more_answers_than_one_request_may_ask_for(http: httpx.Client) -> None:
    error = error_of(http.post(URL, json=GOOD | {"prompt": ["def"] * 9, "n": 16}), 400)
    assert error["param"] == "n"
    assert "144" in error["message"]


@pytest.mark.parametrize("model", ["gpt-4", "", "tiny.ingot", "\u2028\n'"])
def test_a_model_that_is_not_here(http: httpx.Client, model: str) -> None:
    error = error_of(http.post(URL, json=GOOD | {"model": model}), 404)
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert "'tiny'" in error["message"]


@pytest.mark.parametrize("address", ["/nothing", "/v1", "/v1/audio", "/docs"])
def test_an_unknown_address(http: httpx.Client, address: str) -> None:
    assert error_of(http.get(address), 404)["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "address"), [("GET", URL), ("DELETE", "/v1/models"), ("POST", "/"), ("PUT", URL)]
)
def test_a_method_that_is_not_allowed(http: httpx.Client, method: str, address: str) -> None:
    response = http.request(method, address)
    assert error_of(response, 405)["code"] == "method_not_allowed"
    assert response.headers["allow"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELD_NAMES = [
    *("model", "prompt", "max_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop"),
    *("n", "stream", "stream_options", "logprobs", "ignore_eos", "other", "best_of", "echo"),
    *("typical_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias"),
    *("stop_token_ids", "priority", "timeout", "cache_salt", "user", "response_format"),
    "structured_outputs",
]
LIKELY = (
    st.integers(-2, 300)
    | st.floats(-1, 11)
    | st.text(max_size=4)
    | st.lists(st.integers(-1, 400), max_size=4)
    | st.lists(st.text(max_size=4), max_size=4)
    | st.just({"include_usage": True})
)
relaxed = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def post_anything(http: httpx.Client, body: bytes) -> None:
    response = http.post(URL, content=body, headers={"content-type": "application/json"})
    if response.status_code != 200:
        assert error_of(response, response.status_code)
        assert 400 <= response.status_code < 500


@relaxed
@given(st.dictionaries(st.sampled_from(FIELD_NAMES), LIKELY | JSON, max_size=4))
def test_no_parameter_value_is_the_servers_fault(
    http: httpx.Client, fields: dict[str, Any]
) -> None:
    body = GOOD | fields
    if isinstance(body["max_tokens"], int):
        body["max_tokens"] = min(body["max_tokens"], 3)
    post_anything(http, json.dumps(body).encode())


@relaxed
@given(JSON)
def test_no_json_is_the_servers_fault(http: httpx.Client, body: Any) -> None:
    post_anything(http, json.dumps(body).encode())


@relaxed
@given(st.binary(max_size=40))
def test_no_bytes_are_the_servers_fault(http: httpx.Client, body: bytes) -> None:
    post_anything(http, body)
