"""One key at its worst takes no more than its share from another; measured in tokens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import Engine, EngineConfig, EngineLoop
from ingot.inference.executors.torch import TorchExecutor
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key

_TOKENS = 6_000
_ANSWER = 12


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, str, str]:
    path = tmp_path / "keys.toml"
    (greedy, first), (modest, second) = map(make_key, ("greedy", "modest"))
    path.write_text(first + second)
    path.chmod(0o600)
    return path, greedy, modest


@pytest.mark.parametrize(
    "worst",
    [
        {"priority": -(2**31) + 1, "max_tokens": _ANSWER},
        {"priority": -(2**31) + 1, "max_tokens": 60},
    ],
    ids=["many", "long"],
)
def test_a_key_with_many_users_and_the_best_priority_gets_no_more_than_its_share(
    ingot: Ingot, keys: tuple[Path, str, str], worst: dict[str, Any]
) -> None:
    """FAULTS A2: 40 users and priority -2147483647 of one key beside another key."""
    path, greedy, modest = keys
    config = EngineConfig(num_blocks=256, max_sequences=8, max_step_tokens=32)
    engine = Engine(TorchExecutor(ingot, num_blocks=256), ingot.tokenizer, config)
    loop = EngineLoop(engine)
    service = {"greedy": 0, "modest": 0}
    started, counted = set[str](), threading.Lock()
    begun, enough = threading.Event(), threading.Event()

    def ask(name: str, key: str, user: str, body: dict[str, Any]) -> None:
        with httpx.Client(timeout=300, headers={"authorization": f"Bearer {key}"}) as client:
            while not enough.is_set():
                request = {"model": "tiny", "prompt": "def", "ignore_eos": True, "user": user}
                answer = client.post(f"{server.url}/v1/completions", json={**request, **body})
                assert answer.status_code == 200, answer.text
                with counted:
                    started.add(user)
                    if len(started) == 52:  # from here on, both keys always have requests waiting
                        begun.set()
                    if begun.is_set() and not enough.is_set():
                        service[name] += answer.json()["usage"]["completion_tokens"]
                    if sum(service.values()) >= _TOKENS:
                        enough.set()

    @contextmanager
    def load(name: str, key: str, users: int, body: dict[str, Any]) -> Iterator[None]:
        askers = [
            threading.Thread(target=ask, args=(name, key, f"{name}-{user}", body))
            for user in range(users)
        ]
        for one in askers:
            one.start()
        yield
        for one in askers:
            one.join()

    server_config = ServerConfig(port=0, api_keys=path)
    with (
        Server(ingot, loop, server_config) as server,
        load("greedy", greedy, 40, worst),
        load("modest", modest, 12, {"max_tokens": _ANSWER}),
    ):
        assert enough.wait(600)
    loop.close(10)
    assert service["modest"] >= 0.8 * sum(service.values()) / 2, service
