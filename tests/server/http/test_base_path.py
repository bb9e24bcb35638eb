from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key


@pytest.fixture(scope="module")
def offered(
    ingot: Ingot, engine: EngineLoop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, httpx.Client]]:
    key, entry = make_key("a")
    keys = tmp_path_factory.mktemp("keys") / "keys.toml"
    keys.write_text(entry)
    config = ServerConfig(port=0, root_path="/models/ingot", api_keys=keys)
    with Server(ingot, engine, config) as server:
        assert server.url.endswith("/models/ingot")
        base = server.url.removesuffix("/models/ingot")
        with httpx.Client(base_url=base, timeout=300) as http:
            yield key, http


@pytest.mark.parametrize("prefix", ["/models/ingot", ""])
def test_proxies_may_keep_the_prefix_or_remove_it(
    offered: tuple[str, httpx.Client], prefix: str
) -> None:
    """FAULTS C13: a base path."""
    key, http = offered
    headers = {"authorization": f"Bearer {key}"}
    asked = {"model": "tiny", "prompt": "def", "max_tokens": 2}
    assert http.get(f"{prefix}/health").status_code == 200
    assert http.post(f"{prefix}/v1/completions", json=asked, headers=headers).status_code == 200
    assert http.post(f"{prefix}/v1/completions", json=asked).status_code == 401
    document = http.get(f"{prefix}/openapi.json", headers=headers).json()
    assert document["servers"] == [{"url": "/models/ingot"}]


def test_the_page_lies_in_a_folder(offered: tuple[str, httpx.Client]) -> None:
    _, http = offered
    answer = http.get("/models/ingot")
    assert (answer.status_code, answer.headers["location"]) == (308, "/models/ingot/")
    page = http.get("/models/ingot/")
    assert 'src="page/app.js"' in page.text
    assert http.get("/models/ingot/page/app.js").status_code == 200


def test_a_path_that_only_begins_alike_is_another(offered: tuple[str, httpx.Client]) -> None:
    key, http = offered
    answer = http.get("/models/ingots/health", headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 404
