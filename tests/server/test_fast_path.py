from __future__ import annotations

import asyncio

import httpx
from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from ingot.server import Server
from ingot.server.fast_path import FastPathMiddleware
from ingot.server.http.errors import ApiError

PATHS = ["/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/embeddings"]


async def not_direct(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("the framework")(scope, receive, send)


def ask(app: FastPathMiddleware, method: str, path: str) -> httpx.Response:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path)

    return asyncio.run(main())


def test_only_what_generates_goes_past_the_framework() -> None:
    routes = FastAPI()

    @routes.post("/v1/completions")
    async def completions(http_request: Request) -> Response:
        return Response(f"straight to {http_request.url.path}")

    @routes.post("/tokenize")
    async def tokenize() -> Response:
        return Response("never reached by this way")

    app = FastPathMiddleware(not_direct, routes)
    assert ask(app, "POST", "/v1/completions").text == "straight to /v1/completions"
    for method, path in [
        ("GET", "/v1/completions"), ("POST", "/tokenize"), ("POST", "/v1/completions/"),
        ("POST", "/v1/responses"),
    ]:  # fmt: skip
        assert ask(app, method, path).text == "the framework"


def test_a_refusal_has_the_form_of_all_others() -> None:
    routes = FastAPI()

    @routes.post("/v1/responses")
    async def responses(http_request: Request) -> Response:
        raise ApiError(418, f"{http_request.method} refused", code="teapot")

    answer = ask(FastPathMiddleware(not_direct, routes), "POST", "/v1/responses")
    assert answer.status_code == 418
    assert answer.json()["error"]["message"] == "POST refused"


def test_each_of_them_is_served(server: Server) -> None:
    for path in PATHS:
        assert httpx.post(server.url + path, json={}, timeout=300).status_code == 400
        assert httpx.get(server.url + path, timeout=300).status_code == 405
