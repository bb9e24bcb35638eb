from __future__ import annotations

import re

import httpx
import pytest

from ingot.server.page import page_files

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
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
        assert http.get(address).content == path.read_bytes()


@pytest.mark.parametrize("address", ["/page/../page.py", "/page/index.html", "/page/", "/page.py"])
def test_nothing_else_is_served(http: httpx.Client, address: str) -> None:
    assert http.get(address).status_code == 404


def test_the_page_needs_nothing_from_elsewhere_and_makes_no_html() -> None:
    sources = "".join(path.read_text() for path in page_files().values())
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+", sources))
    assert addresses == {"http://www.w3.org"}  # the name of SVG, which nobody fetches
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", sources)
    assert len(sources.encode()) < 150_000
