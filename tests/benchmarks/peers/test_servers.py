from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.http_load import ask, run
from benchmarks.peers.servers import SERVERS, PeerServer, serving_peer
from benchmarks.serving import make_model


def test_a_server_is_started_asked_and_stopped(tmp_path: Path) -> None:
    make_model(tmp_path, "model", 64, 1, 256)
    words = f"{sys.executable} -m ingot serve {{model}} --port {{port}} --set engine.threads=1"
    peer = PeerServer("another", "llama", "model.ingot", words)
    with serving_peer(peer, tmp_path, 1, tmp_path / "log") as served:
        exchange = run(ask(served.url, served.completion([1, 2, 3], 4)))
        assert exchange.complete
        assert exchange.usage["completion_tokens"] == 4
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{served.url}/health")


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    words = f"{sys.executable} -c exit('no-such-weights')"
    peer = PeerServer("broken", "llama", "nothing", words)
    with (
        pytest.raises(RuntimeError, match="no-such-weights"),
        serving_peer(peer, tmp_path, 1, tmp_path / "log"),
    ):
        pass


@pytest.mark.parametrize("peer", SERVERS, ids=lambda peer: peer.name)
def test_commands_name_model_and_port(peer: PeerServer) -> None:
    command = peer.command(Path("/models"), 8123, 2)
    assert f"/models/{peer.model}" in command
    assert "8123" in command
    assert not any("{" in word for word in command)
