from __future__ import annotations

import re
import sys

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ingot.server.page.files import add_page_files, page_files

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
FILES = {
    "/": "text/html",
    "/page/app.js": "text/javascript",
    "/page/play/room.js": "text/javascript",
    "/page/style.css": "text/css",
}


@pytest.mark.parametrize(("address", "media_type"), FILES.items())
def test_the_pages_files(http: httpx.Client, address: str, media_type: str) -> None:
    response = http.get(address)
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert response.headers["content-security-policy"] == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert http.head(address).status_code == 200


def test_every_file_is_served(http: httpx.Client) -> None:
    for address, path in page_files().items():
        content = http.get(address).content
        if address == "/":
            content = content.replace(b'<body data-plotly="">', b"<body>")
        assert content == path.read_bytes()


def test_files_are_packed_for_whoever_unpacks_them(http: httpx.Client) -> None:
    plain = http.get("/page/app.js", headers={"accept-encoding": "identity"})
    packed = http.get("/page/app.js", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])


def test_plotly_is_confined_to_a_frame_without_origin(http: httpx.Client) -> None:
    policy = http.get("/page/plot_frame.html").headers["content-security-policy"]
    assert "sandbox allow-scripts allow-downloads" in policy  # and not allow-same-origin
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    assert b"plotly.js v" in http.get("/page/plotly.js").content[:300]


def test_without_plotly_the_page_does_not_offer_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    app = FastAPI()
    add_page_files(app, {})
    assert "/page/plotly.js" not in page_files()
    with TestClient(app) as client:
        assert b"<body>" in client.get("/").content
        assert client.get("/page/plotly.js").status_code == 404


@pytest.mark.parametrize("address", ["/page/../page.py", "/page/index.html", "/page/", "/page.py"])
def test_nothing_else_is_served(http: httpx.Client, address: str) -> None:
    assert http.get(address).status_code == 404


def test_the_page_needs_nothing_from_elsewhere_and_makes_no_html() -> None:
    own = [path for path in page_files().values() if path.name != "plotly.min.js"]
    sources = "".join(path.read_text() for path in own)
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+", sources))
    assert addresses == {"http://www.w3.org"}  # the name of SVG, which nobody fetches
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", sources)
    assert len(sources.encode()) < 150_000
