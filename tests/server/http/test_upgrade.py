from __future__ import annotations

from ingot.server.http.upgrade import without_offer


def test_the_offer_alone_is_taken_out() -> None:
    fields = [
        (b"host", b"localhost"),
        (b"connection", b"Upgrade, close, HTTP2-Settings"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAAA"),
        (b"content-length", b"3"),
    ]
    assert without_offer(b"POST", b"/a?b", fields) == (
        b"POST /a?b HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 3\r\n\r\n"
    )
