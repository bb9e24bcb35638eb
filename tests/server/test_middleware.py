"""Who is let in: by name, by key, and how often."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from ingot.artifact import Ingot
from ingot.errors import ServeError
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key

ASKED = {"model": "tiny", "prompt": "def", "max_tokens": 2}
ROUTES = [
    *("/v1/models", "/v1/models/tiny", "/ready", "/version", "/metrics"),
    *("/openapi.json", "/page/nothing.js", "/nothing"),
]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A file of two keys, the second of them allowed two requests and few tokens a minute."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    free, free_entry = make_key("free")
    bounded, bounded_entry = make_key("bounded")
    path.write_text(f"{free_entry}\n{bounded_entry}requests_per_minute = 2\n")
    return path, free, bounded


@pytest.fixture(scope="module")
def guarded(
    ingot: Ingot, engine: EngineLoop, keys: tuple[Path, str, str]
) -> Iterator[httpx.Client]:
    config = ServerConfig(port=0, api_keys=keys[0], allowed_hosts=("models.example",))
    with (
        Server(ingot, engine, config) as server,
        httpx.Client(base_url=server.url, timeout=300) as http,
    ):
        yield http


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_but_health_and_the_page_asks_for_a_key(
    guarded: httpx.Client, route: str
) -> None:
    response = guarded.get(route)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert guarded.get("/health").status_code == 200
    assert guarded.get("/").status_code == guarded.get("/page/app.js").status_code == 200


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer wrong", "Basic {key}", "{key}", "Bearer {key} x"]
)
def test_only_the_key_itself_opens(
    guarded: httpx.Client, keys: tuple[Path, str, str], sent: str
) -> None:
    headers = {"authorization": sent.format(key=keys[1])}
    assert guarded.post("/v1/completions", json=ASKED, headers=headers).status_code == 401


def test_the_official_client_shows_its_key(
    guarded: httpx.Client, keys: tuple[Path, str, str]
) -> None:
    base = str(guarded.base_url.join("/v1"))
    with openai.OpenAI(base_url=base, api_key=keys[1], max_retries=0) as client:
        assert client.models.list().data[0].id == "tiny"
    with (
        openai.OpenAI(base_url=base, api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()


def test_a_key_has_its_requests_per_minute(
    guarded: httpx.Client, keys: tuple[Path, str, str]
) -> None:
    answers = [
        guarded.post("/v1/completions", json=ASKED, headers=bearer(keys[2])) for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
    others = guarded.post("/v1/completions", json=ASKED, headers=bearer(keys[1]))
    assert others.status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("192.0.2.7", 200),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("models.example", 200),
        ("models.example.", 200),
        ("attacker.example", 421),
        ("models.example.attacker.example", 421),
        ("", 421),
        ("127.0.0.1.attacker.example", 421),
    ],
)
def test_a_name_must_be_one_that_the_server_goes_by(
    guarded: httpx.Client, host: str, status: int
) -> None:
    assert guarded.get("/health", headers={"host": host}).status_code == status


def test_every_answer_bears_the_requests_id(http: httpx.Client) -> None:
    own = http.get("/health", headers={"x-request-id": "my.id-1"})
    assert own.headers["x-request-id"] == "my.id-1"
    ids = {http.get("/nothing").headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    bad = http.get("/health", headers={"x-request-id": "no such id!"})
    assert bad.headers["x-request-id"] not in {"no such id!", ""}


def test_an_answer_bears_the_session_that_its_request_names(http: httpx.Client) -> None:
    named = http.get("/health", headers={"x-session-id": "talk-3"})
    assert named.headers["x-session-id"] == "talk-3"
    for headers in ({}, {"x-session-id": "no such id!"}, {"x-session-id": "a" * 129}):
        assert "x-session-id" not in http.get("/health", headers=headers).headers


def test_other_origins_are_refused_unless_allowed(ingot: Ingot, engine: EngineLoop) -> None:
    asking = {"origin": "https://page.example", "access-control-request-method": "POST"}
    config = ServerConfig(port=0, cors_origins=("https://page.example",))
    with Server(ingot, engine, config) as server:
        allowed = httpx.options(f"{server.url}/v1/completions", headers=asking)
        assert allowed.headers["access-control-allow-origin"] == "https://page.example"
        answer = httpx.post(
            f"{server.url}/v1/completions", json=ASKED, headers={"origin": "https://page.example"}
        )
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        asking["origin"] = "https://other.example"
        other = httpx.options(f"{server.url}/v1/completions", headers=asking)
        assert "access-control-allow-origin" not in other.headers


def test_the_official_javascript_client_passes_the_preflight(
    ingot: Ingot, engine: EngineLoop
) -> None:
    """FAULTS C7: it sends headers of its own."""
    own = "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os"
    own += ",x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime"
    asking = {
        "origin": "https://page.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": own,
    }
    config = ServerConfig(port=0, cors_origins=("https://page.example",))
    with Server(ingot, engine, config) as server:
        allowed = httpx.options(f"{server.url}/v1/chat/completions", headers=asking)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-headers"] == own
        asking["origin"] = "https://other.example"
        refused = httpx.options(f"{server.url}/v1/chat/completions", headers=asking)
        assert "access-control-allow-origin" not in refused.headers


def test_other_origins_are_never_allowed_by_default(http: httpx.Client) -> None:
    answer = http.get("/v1/models", headers={"origin": "https://page.example"})
    assert "access-control-allow-origin" not in answer.headers
    asked = http.options("/v1/completions", headers={"origin": "https://page.example"})
    assert asked.status_code == 405


def test_a_public_address_may_be_had_with_keys(
    ingot: Ingot, engine: EngineLoop, keys: tuple[Path, str, str]
) -> None:
    with pytest.raises(ServeError, match="add --api-keys"):
        Server(ingot, engine, ServerConfig(host="0.0.0.0", port=0))
    with Server(ingot, engine, ServerConfig(host="0.0.0.0", port=0, api_keys=keys[0])) as server:
        assert httpx.get(f"{server.url}/v1/models").status_code == 401


PROGRAM = """
import sys
from pathlib import Path
from ingot.api.inference import load, serve
from ingot.server import ServerConfig
with load(Path(sys.argv[1])) as model:
    server = serve(model, ServerConfig(port=0, api_keys=Path(sys.argv[2])))
    server.run(on_ready=lambda: print(server.url, flush=True))
"""


def test_sighup_reads_the_keys_again(ingot_path: Path, tmp_path: Path) -> None:
    first, entry = make_key("first")
    second, other = make_key("second")
    path = tmp_path / "keys.toml"
    path.write_text(entry)
    command = [sys.executable, "-c", PROGRAM, str(ingot_path), str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()

            def status(key: str) -> int:
                return httpx.get(f"{url}/v1/models", headers=bearer(key)).status_code

            assert (status(first), status(second)) == (200, 401)
            path.write_text("[[key")
            process.send_signal(signal.SIGHUP)
            assert process.stderr is not None
            line = next(line for line in process.stderr if "keys" in line)
            assert "not reloaded" in line
            assert status(first) == 200
            path.write_text(other)
            process.send_signal(signal.SIGHUP)
            next(line for line in process.stderr if "keys reloaded" in line)
            assert (status(first), status(second)) == (401, 200)
        finally:
            process.kill()
