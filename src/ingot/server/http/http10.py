"""Answers to HTTP/1.0, which knows no chunks: the connection's end ends them.

Source: RFC 9112, section 6.3.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def without_chunks(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """Return ``app`` so that its answers of unknown length are sent as they are.

    Args:
        app: The application.
        cycle: uvicorn's state of the one request that it is called for.
    """
    lengthless = False

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_plain(message: Message) -> None:
            nonlocal lengthless
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message.get("headers", ())}
                lengthless = b"content-length" not in names
                if lengthless:
                    cycle.chunked_encoding = False
            elif lengthless:
                cycle.expected_content_length = len(message.get("body", b""))  # of this part
            await send(message)

        await app(scope, receive, send_plain)

    return answer
