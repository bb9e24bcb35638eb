"""Several ingots by name, and one that replaces another while requests run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import shutil
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingot.api import inference
from ingot.api.executors import native_core_is_built
from ingot.api.verify_live import verify_live
from ingot.artifact import Ingot, open_ingot
from ingot.errors import ArtifactError, ServeError, UsageError
from ingot.inference import Engine, EngineLoop
from ingot.inference.config import Weights
from ingot.inference.executors.torch import TorchExecutor
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key
from ingot.server.engine.model_registry import ServedModel
from tests.random_model import freeze_random

ASKED: dict[str, Any] = {"model": "tiny", "prompt": "def area", "temperature": 0}
Wait = Callable[[Callable[[], bool]], None]


def load(path: Path, weights: Weights) -> tuple[Ingot, EngineLoop]:
    """Open an ingot and start its engine, as a server's loader does."""
    if weights == "int8":
        model = inference.load(path, weights="int8")
        return model.ingot, model.loop
    ingot = open_ingot(path)
    return ingot, EngineLoop(Engine(TorchExecutor(ingot), ingot.tokenizer))


@pytest.fixture(scope="module")
def other_path(ingot: Ingot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model with the same tokenizer."""
    out = tmp_path_factory.mktemp("other") / "other.ingot"
    freeze_random(out, ingot.config, ingot.tokenizer, 1)
    return out


class Served:
    """A server whose ingots can be exchanged, and what it opened."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.opened: list[tuple[Ingot, EngineLoop]] = []
        admin, admin_entry = make_key("admin")
        user, user_entry = make_key("user")
        keys = folder / "keys.toml"
        keys.write_text(f"{admin_entry}admin = true\n{user_entry}")
        self.user = {"authorization": f"Bearer {user}"}
        self.admin = {"authorization": f"Bearer {admin}"}
        self.admin_key = admin
        ingot, loop = self.load(path, "stored")
        self.server = Server(ingot, loop, ServerConfig(port=0, api_keys=keys), loader=self.load)

    def load(self, path: Path, weights: Weights) -> tuple[Ingot, EngineLoop]:
        self.opened.append(load(path, weights))
        return self.opened[-1]

    def exchange(self, path: Path, model: str = "tiny") -> httpx.Response:
        body = {"model": model, "path": str(path)}
        url = f"{self.server.url}/admin/ingots"
        return httpx.post(url, json=body, headers=self.admin, timeout=300)

    def quantize(self, model: str, headers: dict[str, str]) -> httpx.Response:
        url = f"{self.server.url}/admin/quantize"
        return httpx.post(url, json={"model": model}, headers=headers, timeout=300)

    def ask(self, **fields: Any) -> httpx.Response:
        url = f"{self.server.url}/v1/completions"
        return httpx.post(url, json=ASKED | fields, headers=self.user, timeout=300)


@pytest.fixture
def served(ingot_path: Path, tmp_path: Path) -> Iterator[Served]:
    served = Served(ingot_path, tmp_path)
    with served.server:
        yield served
    for ingot, loop in served.opened:
        loop.close(5)
        ingot.close()


def test_an_ingot_replaces_another_and_no_request_is_dropped(
    served: Served, other_path: Path, wait_until: Wait
) -> None:
    before = served.ask(max_tokens=20).json()
    asked = {"max_tokens": 400, "ignore_eos": True}
    whole_before = served.ask(**asked).json()

    def keep_asking(number: int) -> list[str]:
        digests = []
        for _ in range(6):
            response = served.ask(max_tokens=10 + number)
            assert response.status_code == 200, response.text
            digests.append(response.json()["system_fingerprint"])
        return digests

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        running = [pool.submit(keep_asking, number) for number in range(4)]
        under_way = pool.submit(served.ask, **asked)
        wait_until(lambda: served.opened[0][1].stats().running > 0)
        said = served.exchange(other_path)
        assert said.status_code == 200, said.text
        results = [job.result(300) for job in running]
        ended = under_way.result(300).json()
    first, second = served.opened[0][0].digest, served.opened[1][0].digest
    assert said.json()["digest"] == second
    assert before["system_fingerprint"] == first
    for digests in results:  # each client sees the change once, and never back
        assert digests == sorted(digests, key=lambda digest: digest == second)
    assert ended["choices"] == whole_before["choices"]  # it ended on the weights it began with
    assert ended["system_fingerprint"] == first
    after = served.ask(max_tokens=20).json()
    assert after["system_fingerprint"] == second
    assert after["choices"] != before["choices"]
    wait_until(lambda: not served.opened[0][1]._thread.is_alive())
    with pytest.raises(ServeError):
        served.opened[0][1].submit([1], None, print)  # type: ignore[arg-type]


def test_a_further_name_can_be_added(served: Served, other_path: Path) -> None:
    assert served.exchange(other_path, "second").status_code == 200
    models = httpx.get(f"{served.server.url}/v1/models", headers=served.user).json()["data"]
    assert [model["id"] for model in models] == ["tiny", "second"]
    answers = [served.ask(model=name, max_tokens=20).json() for name in ("tiny", "second")]
    assert answers[0]["choices"] != answers[1]["choices"]
    assert [answer["model"] for answer in answers] == ["tiny", "second"]


def test_a_corrupt_ingot_is_refused_and_the_old_one_serves(
    served: Served, other_path: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.ingot"
    shutil.copytree(other_path, bad)
    weights = bad / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    before = served.ask(max_tokens=8).json()["choices"]
    refused = served.exchange(bad)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "ingot_refused"
    assert "bad.ingot" in refused.json()["error"]["message"]
    assert served.exchange(tmp_path / "none").status_code == 400
    assert served.ask(max_tokens=8).json()["choices"] == before


def test_only_an_admins_key_may_exchange(served: Served, other_path: Path) -> None:
    body = {"model": "tiny", "path": str(other_path)}
    url = f"{served.server.url}/admin/ingots"
    refused = httpx.post(url, json=body, headers=served.user)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_permitted")
    assert httpx.post(url, json=body).status_code == 401


def test_without_keys_nobody_may_exchange(http: httpx.Client, other_path: Path) -> None:
    body = {"model": "tiny", "path": str(other_path)}
    assert http.post("/admin/ingots", json=body).status_code == 403


def test_two_models_of_one_name_are_refused(ingot: Ingot, engine: EngineLoop) -> None:
    with pytest.raises(UsageError, match="names two ingots"):
        Server(ingot, engine, ServerConfig(port=0), further=[("tiny", ingot, engine)])


def test_the_weights_in_memory_are_those_that_were_sealed(
    served: Served, ingot: Ingot, other_path: Path
) -> None:
    for _ in range(3):
        served.ask(max_tokens=8)
    verify_live(served.server.url, "tiny", ingot.manifest, served.admin_key)
    with open_ingot(other_path) as other, pytest.raises(ArtifactError, match="not the one that"):
        verify_live(served.server.url, "tiny", other.manifest, served.admin_key)
    with pytest.raises(ServeError, match="API key"):
        verify_live(served.server.url, "tiny", ingot.manifest, None)
    with pytest.raises(ServeError, match="unknown model 'x'"):
        verify_live(served.server.url, "x", ingot.manifest, served.admin_key)
    with pytest.raises(UsageError):
        verify_live("file:///etc/passwd", "tiny", ingot.manifest, None)
    with pytest.raises(ServeError):
        verify_live("http://127.0.0.1:9", "tiny", ingot.manifest, None)


def test_nothing_keeps_a_replaced_ingot_alive(
    ingot_path: Path, other_path: Path, tmp_path: Path, wait_until: Wait
) -> None:
    """Its engine has ended, and neither it nor the ingot can be reached any more."""
    served = Served(ingot_path, tmp_path)
    with served.server:
        served.ask(max_tokens=3)
        kept = [weakref.ref(part) for part in served.opened.pop()]
        assert served.exchange(other_path).status_code == 200

        def gone() -> bool:
            gc.collect()
            return all(part() is None for part in kept)

        wait_until(gone)
        assert served.ask(max_tokens=3).status_code == 200
    assert not served.opened[0][1]._thread.is_alive()  # what the server opened, it has closed


def test_a_model_is_not_closed_while_it_is_used(ingot_path: Path) -> None:
    async def main() -> None:
        model = ServedModel("tiny", *load(ingot_path, "stored"))
        with model.used():
            closing = asyncio.create_task(model.close_unused())
            await asyncio.sleep(0.1)
            assert model.loop._thread.is_alive()
            assert not closing.done()
        await asyncio.wait_for(closing, 300)
        assert not model.loop._thread.is_alive()

    asyncio.run(main())


@pytest.mark.skipif(not native_core_is_built(), reason="installed without the native core")
def test_weights_that_loading_converted_are_not_called_false(ingot_path: Path) -> None:
    with (
        inference.load(ingot_path, weights="int8") as model,
        Server(model.ingot, model.loop, ServerConfig(port=0)) as server,
    ):
        said = httpx.post(f"{server.url}/admin/verify", json={"model": "tiny"}, timeout=300)
        assert said.status_code == 409
        assert said.json()["error"]["code"] == "not_comparable"
        with pytest.raises(ServeError, match="converted when they were loaded"):
            verify_live(server.url, "tiny", model.ingot.manifest, None)


@pytest.mark.skipif(not native_core_is_built(), reason="installed without the native core")
def test_a_copy_in_int8_is_served_beside_the_model(served: Served, other_path: Path) -> None:
    assert served.quantize("tiny", served.user).status_code == 403
    said = served.quantize("tiny", served.admin)
    assert said.status_code == 200, said.text
    assert (said.json()["id"], said.json()["digest"]) == ("tiny:int8", served.opened[0][0].digest)
    assert served.ask(model="tiny:int8", max_tokens=5).status_code == 200
    body = {"model": "tiny:int8"}
    verified = httpx.post(f"{served.server.url}/admin/verify", json=body, headers=served.admin)
    assert (verified.status_code, verified.json()["error"]["code"]) == (409, "not_comparable")
    assert served.quantize("tiny", served.admin).json() == said.json()
    assert len(served.opened) == 2  # the copy that was there
    refused = served.quantize("tiny:int8", served.admin)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "already_quantized")
    assert served.quantize("none", served.admin).status_code == 404
    assert served.exchange(other_path).status_code == 200
    renewed = served.quantize("tiny", served.admin).json()
    assert renewed["digest"] == served.opened[2][0].digest != said.json()["digest"]


@pytest.mark.skipif(not native_core_is_built(), reason="installed without the native core")
def test_no_copy_is_made_of_an_ingot_that_is_not_served(
    ingot_path: Path, other_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.ingot"
    shutil.copytree(ingot_path, path)
    served = Served(path, tmp_path)
    with served.server:
        shutil.rmtree(path)
        shutil.copytree(other_path, path)
        said = served.quantize("tiny", served.admin)
        assert (said.status_code, said.json()["error"]["code"]) == (409, "ingot_changed")
        assert served.ask(model="tiny:int8", max_tokens=1).status_code == 404
        assert served.ask(max_tokens=1).status_code == 200
    (ingot, loop), (_, refused) = served.opened
    assert not refused._thread.is_alive()
    loop.close(5)
    ingot.close()


@pytest.mark.skipif(not native_core_is_built(), reason="installed without the native core")
@pytest.mark.parametrize(("public", "status"), [(False, 200), (True, 403)])
def test_without_keys_only_a_private_server_makes_copies(
    ingot_path: Path, public: bool, status: int
) -> None:
    config = ServerConfig(port=0, allow_public=public)
    with inference.load(ingot_path) as model, inference.serve(model, config) as server:
        body = {"model": ingot_path.name.removesuffix(".ingot")}
        response = httpx.post(f"{server.url}/admin/quantize", json=body, timeout=300)
        assert response.status_code == status, response.text
