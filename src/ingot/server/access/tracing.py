"""OpenTelemetry traces: one span for each request, if an endpoint is set.

Attributes follow the GenAI conventions
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/). They hold no
text of prompts or answers.
"""

from __future__ import annotations

import time
from typing import Any

from ingot.errors import UsageError
from ingot.server.access.request_context import RequestContext

_EXPORT_S = 2.0  # an unreachable collector must not delay the server's shutdown for long


class Tracer:
    """Sends a span for each request that is over.

    Args:
        endpoint: Where spans are sent over OTLP/HTTP.

    Raises:
        UsageError: OpenTelemetry is not installed.
    """

    def __init__(self, endpoint: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise UsageError(
                f"traces need {error.name}", where="otlp_endpoint", fix="install ingot[otel]"
            ) from error
        self._provider = TracerProvider(resource=Resource.create({"service.name": "ingot"}))
        self._provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=_EXPORT_S))
        )
        self._tracer = self._provider.get_tracer("ingot.server")

    def record(self, context: RequestContext) -> None:
        """Send the span of a request that is over."""
        if context.model is None:
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {"traceparent": context.traceparent} if context.traceparent else {}
        end = time.time_ns()
        span = self._tracer.start_span(
            f"{_operation(context.path)} {context.model}",
            context=TraceContextTextMapPropagator().extract(carrier),
            kind=SpanKind.SERVER,
            attributes=_attributes(context),
            start_time=end - int(context.finished_s * 1e9),
        )
        if context.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def close(self) -> None:
        """Send the spans that are still buffered."""
        self._provider.shutdown()


def _operation(path: str) -> str:
    """Return the conventions' name of a route's operation."""
    if path.endswith("/embeddings"):
        return "embeddings"
    return "text_completion" if path == "/v1/completions" else "chat"


def _attributes(context: RequestContext) -> dict[str, Any]:
    fields = {
        "gen_ai.operation.name": _operation(context.path),
        "gen_ai.provider.name": "ingot",
        "gen_ai.request.model": context.model,
        "gen_ai.conversation.id": context.session,
        "gen_ai.response.finish_reasons": context.finish_reasons or None,
        "gen_ai.usage.input_tokens": context.prompt_tokens,
        "gen_ai.usage.output_tokens": context.completion_tokens,
        "gen_ai.server.time_to_first_token": context.first_token_s,
        "http.response.status_code": context.status,
        "url.path": context.path,
        "ingot.request_id": context.id,
    }
    return {name: value for name, value in fields.items() if value is not None}
