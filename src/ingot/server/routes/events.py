"""Server-sent events: the frame of whatever a stream says.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import orjson

_LINE_BREAKS = tuple((chr(code).encode(), b"\\u%04x" % code) for code in (0x85, 0x2028, 0x2029))


class ChunkFrame:
    """The constant parts of a streamed answer's chunks, serialized once.

    Args:
        empty: A chunk without choices.
    """

    def __init__(self, empty: object) -> None:
        # Quotation marks inside strings are escaped, so only the field itself matches this.
        before, _, after = orjson.dumps(empty).partition(b'"choices":[]')
        self._before = b'data: %b"choices":[' % before
        self._after = b"]%b\n\n" % after

    def event(self, choice: object) -> bytes:
        """Return a chunk of one choice as a complete event."""
        return self._before + _on_one_line(orjson.dumps(choice)) + self._after


def server_sent_event(data: bytes, kind: str | None = None) -> bytes:
    """Return a complete event."""
    data = _on_one_line(data)
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data) if kind else b"data: %b\n\n" % data


def _on_one_line(data: bytes) -> bytes:
    """Escape the line breaks of Unicode that JSON leaves as they are.

    The standard ends lines at CR and LF alone; clients that split text as Python does, such as
    httpx, would cut an event in two.
    """
    if data.isascii():
        return data
    for mark, escaped in _LINE_BREAKS:
        data = data.replace(mark, escaped)
    return data
