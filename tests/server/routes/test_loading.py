"""Models loaded, listed and unloaded while the server runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingot.artifact import Ingot, open_ingot
from ingot.errors import UsageError
from ingot.inference import Engine, EngineLoop
from ingot.inference.config import Weights
from ingot.inference.executors.torch import TorchExecutor
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key

Wait = Callable[[Callable[[], bool]], None]


def load(path: Path, _weights: Weights) -> tuple[Ingot, EngineLoop]:
    """Open an ingot and start its engine, as a server's loader does."""
    ingot = open_ingot(path)
    return ingot, EngineLoop(Engine(TorchExecutor(ingot), ingot.tokenizer))


@pytest.fixture(scope="module")
def folder(ingot_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ingots, with things in it that are none."""
    folder = tmp_path_factory.mktemp("ingots")
    shutil.copytree(ingot_path, folder / "second.ingot")
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("no ingot")
    return folder


@pytest.fixture
def serve(ingot: Ingot, engine: EngineLoop) -> Iterator[Callable[..., httpx.Client]]:
    """Start a server with these settings; the client is closed with it."""
    opened: list[tuple[Server, httpx.Client]] = []

    def start(**settings: Any) -> httpx.Client:
        config = ServerConfig(port=0, **settings)
        server = Server(ingot, engine, config, loader=load).__enter__()
        client = httpx.Client(base_url=server.url, timeout=300)
        opened.append((server, client))
        return client

    yield start
    for server, client in opened:
        client.close()
        server.__exit__(None, None, None)


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def names(http: httpx.Client) -> list[str]:
    return [model["id"] for model in http.get("/v1/models").json()["data"]]


def test_a_private_server_loads_by_name_and_unloads(
    serve: Callable[..., httpx.Client], folder: Path, ingot: Ingot
) -> None:
    http = serve(ingots_folder=folder)
    listed = http.get("/admin/models").json()
    sizes = sum(file.stat().st_size for file in (folder / "second.ingot").iterdir())
    assert listed["stored"] == [{"name": "second.ingot", "bytes": sizes}]
    assert (listed["may_change"], listed["has_folder"]) == (True, True)
    assert listed["models"] == [
        {
            "id": "tiny",
            "digest": ingot.digest,
            "weight_bytes": ingot.weight_bytes,
            "max_model_len": 2048,
            "trained_context": 2048,
            "knows_conversations": False,
            "asleep": False,
            "wake_s": None,
        }
    ]
    body = {"model": "second", "ingot": "second.ingot"}
    assert http.post("/admin/ingots", json=body).json()["digest"] == ingot.digest
    assert names(http) == ["tiny", "second"]
    asked = {"model": "second", "prompt": "def", "max_tokens": 2, "temperature": 0}
    assert http.post("/v1/completions", json=asked).status_code == 200
    assert http.post("/admin/unload", json={"model": "second"}).json()["id"] == "second"
    assert names(http) == ["tiny"]
    assert refusal(http.post("/v1/completions", json=asked)) == (404, "model_not_found")
    assert refusal(http.post("/admin/unload", json={"model": "second"}))[0] == 404
    only = http.post("/admin/unload", json={"model": "tiny"})
    assert refusal(only) == (409, "only_model")
    assert names(http) == ["tiny"]


def test_an_answer_ends_on_the_model_that_is_unloaded_meanwhile(
    serve: Callable[..., httpx.Client], folder: Path, wait_until: Wait
) -> None:
    http = serve(ingots_folder=folder)
    http.post("/admin/ingots", json={"model": "second", "ingot": "second.ingot"})
    asked = {"model": "second", "prompt": "def", "max_tokens": 300, "stream": True, "seed": 1}
    with http.stream("POST", "/v1/completions", json=asked | {"ignore_eos": True}) as stream:
        lines = stream.iter_lines()
        next(lines)
        assert http.post("/admin/unload", json={"model": "second"}).status_code == 200
        assert names(http) == ["tiny"]
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert '"finish_reason":"length"' in rest[-2]


@pytest.mark.parametrize("name", ["../second.ingot", "/etc", "..", ".", "a/b", "", "a\0b"])
def test_a_name_cannot_leave_the_folder(
    serve: Callable[..., httpx.Client], folder: Path, name: str
) -> None:
    http = serve(ingots_folder=folder / "empty")
    response = http.post("/admin/ingots", json={"model": "x", "ingot": name})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "ingot"
    assert names(http) == ["tiny"]


def test_a_path_needs_a_key_with_admin(serve: Callable[..., httpx.Client], folder: Path) -> None:
    http = serve(ingots_folder=folder)
    path = str(folder / "second.ingot")
    asked = {"model": "x", "path": path}
    assert refusal(http.post("/admin/ingots", json=asked)) == (403, "not_permitted")
    both = asked | {"ingot": "second.ingot"}
    assert refusal(http.post("/admin/ingots", json=both)) == (400, "invalid_value")


def test_without_a_folder_no_name_is_known(serve: Callable[..., httpx.Client]) -> None:
    http = serve()
    listed = http.get("/admin/models").json()
    assert (listed["stored"], listed["has_folder"]) == ([], False)
    response = http.post("/admin/ingots", json={"model": "x", "ingot": "second.ingot"})
    assert refusal(response) == (400, "invalid_value")
    assert "server.ingots_folder" in response.json()["error"]["message"]


def test_only_a_key_with_admin_changes_the_models(
    serve: Callable[..., httpx.Client], folder: Path, tmp_path: Path
) -> None:
    admin, admin_entry = make_key("admin")
    user, user_entry = make_key("user")
    keys = tmp_path / "keys.toml"
    keys.write_text(f"{admin_entry}admin = true\n{user_entry}")
    http = serve(ingots_folder=folder, api_keys=keys)
    body = {"model": "second", "ingot": "second.ingot"}
    for key, status in ((user, 403), (admin, 200)):
        headers = {"authorization": f"Bearer {key}"}
        listed = http.get("/admin/models", headers=headers).json()
        assert listed["may_change"] is (status == 200)
        assert len(listed["stored"]) == (1 if status == 200 else 0)
        assert http.post("/admin/ingots", json=body, headers=headers).status_code == status
    for key, status in ((user, 403), (admin, 200)):
        headers = {"authorization": f"Bearer {key}"}
        unloaded = http.post("/admin/unload", json={"model": "second"}, headers=headers)
        assert unloaded.status_code == status
    assert http.post("/admin/unload", json={"model": "tiny"}).status_code == 401


def test_a_public_server_without_keys_changes_nothing(
    serve: Callable[..., httpx.Client], folder: Path
) -> None:
    http = serve(ingots_folder=folder, allow_public=True)
    listed = http.get("/admin/models").json()
    assert (listed["may_change"], listed["stored"]) == (False, [])
    body = {"model": "second", "ingot": "second.ingot"}
    assert refusal(http.post("/admin/ingots", json=body)) == (403, "not_permitted")
    assert refusal(http.post("/admin/unload", json={"model": "tiny"})) == (403, "not_permitted")


def test_no_more_models_than_the_setting_allows(
    serve: Callable[..., httpx.Client], folder: Path, ingot: Ingot, engine: EngineLoop
) -> None:
    http = serve(ingots_folder=folder, max_models=2)
    body = {"model": "second", "ingot": "second.ingot"}
    assert http.post("/admin/ingots", json=body).status_code == 200
    third = http.post("/admin/ingots", json=body | {"model": "third"})
    assert refusal(third) == (409, "too_many_models")
    assert http.post("/admin/ingots", json=body).status_code == 200  # in place of the one before
    config = ServerConfig(port=0, max_models=1)
    with pytest.raises(UsageError, match=r"server\.max_models"):
        Server(ingot, engine, config, further=[("other", ingot, engine)])
