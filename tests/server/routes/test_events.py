from __future__ import annotations

import json

import httpx
import pytest


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses"])
def test_a_stream_has_no_line_breaks_but_its_own(http: httpx.Client, path: str) -> None:
    """Clients that split lines as Python does cut no event in two."""
    text = "a\u2028b\x85c\u2029d\x0be\x1cf"
    body: dict[str, object] = {"model": "tiny", "stream": True}
    if path == "/v1/completions":
        body |= {"prompt": text, "echo": True, "max_tokens": 1}
    else:
        body |= {"input": "hello", "max_output_tokens": 16, "instructions": text}
    with http.stream("POST", path, json=body) as response:
        lines = [line for line in response.iter_lines() if line.startswith("data: {")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert events
    if path == "/v1/completions":
        said = "".join(choice["text"] for event in events for choice in event["choices"])
        assert said.startswith(text)
    else:
        assert events[0]["response"]["instructions"] == text
