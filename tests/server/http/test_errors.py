"""The bodies of errors."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.testclient import TestClient

from ingot.server.http.errors import answer_unexpected

SECRET = "/srv/models/private.ingot at 0x7f00dead"


def test_an_unexpected_error_tells_the_client_nothing_of_the_server() -> None:
    app = FastAPI()
    app.add_exception_handler(Exception, answer_unexpected)

    @app.get("/")
    def fail() -> None:
        raise RuntimeError(SECRET)

    answer = TestClient(app, raise_server_exceptions=False).get("/")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "srv" not in answer.text
    assert "RuntimeError" not in answer.text
    assert "0x" not in answer.text
