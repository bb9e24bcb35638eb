"""Requests that offer another protocol: the offer is ignored, the request answered.

Java's HTTP client offers HTTP/2 with its first request, body included. llhttp's binding ends
such a request at its head, so the head is parsed again without the offer.
Source: RFC 9110, section 7.8.
"""

from __future__ import annotations

from collections.abc import Iterable

_OFFER = {b"upgrade", b"http2-settings"}


def without_offer(method: bytes, target: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of an HTTP/1.1 request without its offer of another protocol.

    Args:
        method: Of the request.
        target: Of the request, as it was sent.
        fields: Its fields, their names in lower case.
    """
    lines = [method + b" " + target + b" HTTP/1.1"]
    for name, value in fields:
        if name == b"connection":
            tokens = (token.strip() for token in value.lower().split(b","))
            lines.append(b"connection: " + b", ".join(t for t in tokens if t not in _OFFER))
        elif name not in _OFFER:
            lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", b""])
