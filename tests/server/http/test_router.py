"""Finding a request's handler, and refusing what there is no handler for."""

from __future__ import annotations

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router, host_of


@pytest.fixture
def http() -> httpx.Client:
    router = Router({"localhost", "models.example"})

    @router.get("/things")
    async def list_things(_: Request) -> Response:
        return Response("all")

    @router.post("/things")
    async def make_thing(request: Request) -> Response:
        return Response(await request.body())

    @router.get("/things/{name}")
    async def one_thing(request: Request) -> Response:
        return Response(request.path_params["name"])

    @router.get("/things/refused")
    async def refuse(_: Request) -> Response:
        raise ApiError(418, "is a teapot", code="teapot")

    return TestClient(router, base_url="http://localhost")


def test_the_method_chooses_among_the_handlers_of_a_path(http: httpx.Client) -> None:
    assert http.get("/things").text == "all"
    assert http.post("/things", content=b"new").text == "new"


@pytest.mark.parametrize("name", ["one", "one/with/slashes", "{name}", "ä"])
def test_a_prefix_matches_any_rest_but_none(http: httpx.Client, name: str) -> None:
    assert http.get(f"/things/{name}").text == name
    assert http.get("/things/").status_code == 404


def test_a_whole_path_goes_before_a_prefix(http: httpx.Client) -> None:
    answer = http.get("/things/refused")
    assert answer.status_code == 418
    assert answer.json()["error"]["code"] == "teapot"


@pytest.mark.parametrize("path", ["/", "/other", "/things2", "/thing"])
def test_an_unknown_path_is_not_found(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
    assert path in answer.json()["error"]["message"]


def test_a_wrong_method_is_told_the_right_ones(http: httpx.Client) -> None:
    answer = http.request("DELETE", "/things")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
    assert http.post("/things/one").headers["allow"] == "GET"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:80",
        "models.example",
        "models.example.",
        "127.0.0.1:8000",
        "[::1]:80",
    ],
)
def test_an_address_and_the_own_names_are_accepted(http: httpx.Client, host: str) -> None:
    assert http.get("/things", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["", "evil.example", "localhost.evil.example", "127.0.0.1.nip.io"])
def test_other_names_are_refused(http: httpx.Client, host: str) -> None:
    answer = http.get("/things", headers={"host": host})
    assert answer.status_code == 421
    assert answer.json()["error"]["code"] == "unknown_host"


def test_http_1_0_need_not_name_the_server() -> None:
    """FAULTS C11: HTTP/1.0 has no Host header."""
    assert _host_of(b"1.0") is None
    with pytest.raises(ApiError) as caught:
        _host_of(b"1.1")
    assert caught.value.status == 400
    with pytest.raises(ApiError):
        _host_of(b"1.1", b"localhost", b"evil.example")
    assert _host_of(b"1.0", b"evil.example") == "evil.example"


def _host_of(version: bytes, *hosts: bytes) -> str | None:
    headers = [(b"host", host) for host in hosts]
    return host_of(Request({"type": "http", "http_version": version.decode(), "headers": headers}))
