"""Whatever the OpenAPI document permits, and what it does not: never the server's fault."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error

from ingot.server import Server

_LIMITS = {
    "/v1/completions": "max_tokens",
    "/v1/chat/completions": "max_tokens",
    "/v1/responses": "max_output_tokens",
}
relaxed = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_is_the_servers_fault(server: Server, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and operation.body.items == []:
            continue
        tried += 1

        @relaxed
        @given(case=operation.as_strategy(generation_mode=mode))
        def call(case: Case) -> None:
            if isinstance(case.body, dict):
                case.body = _harmless(case.path, case.body)
            response = case.call(base_url=server.url, timeout=300)
            case.validate_response(response, checks=[not_a_server_error])

        call()
    assert tried >= 6
    assert httpx.get(f"{server.url}/health").json()["status"] == "ok"


def _harmless(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Let a body reach the model that there is, and ask it for little."""
    limited = {_LIMITS[path]: 2} if path in _LIMITS else {}
    # A time of its own that is too short is answered with 504, as it should be.
    timed = {"timeout": None} if "timeout" in body else {}
    return body | {"model": "tiny"} | limited | timed
