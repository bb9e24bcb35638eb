from __future__ import annotations

import re

import httpx
import pytest

FILES = {"/": "text/html", "/app.js": "text/javascript", "/style.css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@pytest.mark.parametrize(("address", "media_type"), FILES.items())
def test_the_pages_files(http: httpx.Client, address: str, media_type: str) -> None:
    response = http.get(address)
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert response.headers["content-security-policy"] == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert http.head(address).status_code == 200


def test_the_page_needs_nothing_from_elsewhere_and_makes_no_html(http: httpx.Client) -> None:
    sources = "".join(http.get(address).text for address in FILES)
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+", sources))
    assert addresses == {"http://www.w3.org"}  # the name of SVG, which nobody fetches
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", sources)
    assert len(sources) < 40_000
