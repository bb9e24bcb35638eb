from __future__ import annotations

import gzip
import re

import httpx
import pytest

from ingot.server.page.files import page_files

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
FILES = {
    "/": "text/html",
    "/page/app.js": "text/javascript",
    "/page/chat/view.js": "text/javascript",
    "/page/vendor/uplot/uPlot.min.js": "text/javascript",
    "/page/style.css": "text/css",
}
# Each would turn a string into HTML or code.
INJECTION = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function"


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


def test_files_are_compressed_for_clients_that_accept_it(http: httpx.Client) -> None:
    plain = http.get("/page/app.js", headers={"accept-encoding": "identity"})
    packed = http.get("/page/app.js", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])


@pytest.mark.parametrize("address", ["/page/../page.py", "/page/index.html", "/page/", "/page.py"])
def test_nothing_else_is_served(http: httpx.Client, address: str) -> None:
    assert http.get(address).status_code == 404


def test_the_page_loads_nothing_from_other_sites_and_parses_no_html() -> None:
    for address, path in page_files().items():
        source = path.read_text(encoding="utf-8")
        # A library's function that does so fails: the policy allows no string to become HTML.
        if "vendor" not in path.parts:
            assert not re.search(INJECTION, source), address
        hosts = set(re.findall(r"(?:https?:)?//([\w.]+\.\w+)", source))
        # The icons' SVG namespace and sources of formats and libraries, which are never fetched.
        assert hosts <= {"www.w3.org", "prometheus.io", "github.com"}, address


def test_the_pages_own_code_is_small_and_formatted() -> None:
    own = {path for path in page_files().values() if "vendor" not in path.parts}
    compressed = sum(len(gzip.compress(path.read_bytes())) for path in page_files().values())
    assert compressed <= 250_000
    for path in own - {page_files()["/"]}:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith(("// ", "/* ")), f"{path.name} does not say what it holds"
        assert not [line for line in lines if line != line.rstrip() or "\t" in line], path.name


VENDORED = {
    "uplot/uPlot.min.js": (r"\(v([\d.]+)\)", "uPlot {}, MIT", "The MIT License"),
    "marked/marked.min.js": (r"marked v([\d.]+)", "marked {}, MIT", "Permission is hereby granted"),
    "highlight/core.min.js": (
        r"Highlight\.js v([\d.]+)",
        "highlight.js {}, BSD-3-Clause",
        "BSD 3-Clause License",
    ),
}


@pytest.mark.parametrize("name", VENDORED)
def test_vendored_code_names_its_version_and_licence(name: str) -> None:
    pattern, named, licence = VENDORED[name]
    file = page_files()[f"/page/vendor/{name}"]
    version = re.search(pattern, file.read_text(encoding="utf-8"))
    assert version
    assert named.format(version[1]) in (file.parent / "README").read_text(encoding="utf-8")
    assert licence in (file.parent / "LICENSE").read_text(encoding="utf-8")
