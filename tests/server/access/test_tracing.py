"""Traces, sent to a collector of our own."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes spans over OTLP/HTTP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        spans = self.spans

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                message = ExportTraceServiceRequest.FromString(body)
                for resource in message.resource_spans:
                    for scope in resource.scope_spans:
                        spans.extend(scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


def test_a_request_is_a_span_under_the_clients_own(
    ingot: Ingot, engine: EngineLoop, collector: Collector
) -> None:
    config = ServerConfig(port=0, otlp_endpoint=collector.url)
    asked = {"model": "tiny", "prompt": "a secret", "max_tokens": 3, "ignore_eos": True}
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "id-1"}
    headers["x-session-id"] = "talk-3"
    with Server(ingot, engine, config) as server:
        httpx.post(f"{server.url}/v1/completions", json=asked, headers=headers).raise_for_status()
        httpx.get(f"{server.url}/health").raise_for_status()
    (span,) = collector.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.name == "text_completion tiny"
    assert span.end_time_unix_nano > span.start_time_unix_nano
    values = {attribute.key: attribute.value for attribute in span.attributes}
    assert values["gen_ai.request.model"].string_value == "tiny"
    assert values["gen_ai.usage.output_tokens"].int_value == 3
    assert values["gen_ai.usage.input_tokens"].int_value == len(ingot.tokenizer.encode("a secret"))
    assert values["http.response.status_code"].int_value == 200
    assert values["gen_ai.conversation.id"].string_value == "talk-3"
    assert values["ingot.request_id"].string_value == "id-1"
    assert b"secret" not in span.SerializeToString()


def test_a_collector_that_is_gone_does_not_matter(ingot: Ingot, engine: EngineLoop) -> None:
    config = ServerConfig(port=0, otlp_endpoint="http://127.0.0.1:9/v1/traces")
    with Server(ingot, engine, config) as server:
        asked = {"model": "tiny", "prompt": "a", "max_tokens": 1}
        assert httpx.post(f"{server.url}/v1/completions", json=asked).status_code == 200
