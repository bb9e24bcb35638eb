"""Requests to the server's own routes, without a connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message

from ingot.server.access.api_keys import Key
from ingot.server.access.request_context import RequestContext
from ingot.server.http.errors import unexpected_error
from ingot.server.schemas.identifiers import new_id

_log = logging.getLogger(__name__)


@dataclass
class Answer:
    """What a route answered."""

    request_id: str
    status: int = 0
    body: bytearray = field(default_factory=bytearray)


class InProcess:
    """Calls an application as a connection would, by the very code that answers clients.

    Args:
        app: The routes, without authentication.
        record: Called with each request that is over.
    """

    def __init__(self, app: ASGIApp, record: Callable[[RequestContext], None]) -> None:
        self._app = app
        self._record = record

    async def post(self, path: str, body: bytes, key: Key | None, seconds: float) -> Answer:
        """Return the answer to a request in the background; cancelling cancels the request.

        Args:
            path: Of the route.
            body: JSON.
            key: Whose request it is; None on a server without keys.
            seconds: Until its batch expires.
        """
        context = RequestContext(new_id(), "POST", path, key=key, background_s=seconds)
        answer = Answer(context.id)
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if sent:
                await asyncio.Event().wait()  # this client never leaves
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = context.status = message["status"]
            else:
                answer.body += message.get("body", b"")

        try:
            with context.held:
                await self._app(_scope(path, body, context), receive, send)
        except Exception:
            _log.exception("a request of a batch failed")
            error = unexpected_error()
            answer.status = context.status = error.status
            answer.body = bytearray(error.body.to_json())
        finally:
            context.finished_s = context.elapsed_s
            self._record(context)
        # A route that is cancelled answers that the server is stopping.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError
        return answer


def _scope(path: str, body: bytes, context: RequestContext) -> Message:
    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
        "state": {"context": context},
    }
