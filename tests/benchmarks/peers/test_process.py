from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.peers.environments import ENVIRONMENTS, PEERS
from benchmarks.peers.process import PeerFailed, PeerProcess, first_token_s

DRIVER = """
import sys
from benchmarks.peers.drivers.conversation import converse

class OneEach:
    def __init__(self, sequences):
        self.left = {}
        print("what a peer prints is not an answer")
    def add(self, ids, answer):
        number = len(self.left) + 1
        self.left[number] = answer
        return number
    def step(self):
        made = [number for number, left in self.left.items() if left]
        for number in made:
            self.left[number] -= 1
        if len(made) > 3:
            raise RuntimeError("too many for this peer")
        return made

converse(OneEach)
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    path = tmp_path / "driver.py"
    path.write_text(DRIVER)
    return [sys.executable, str(path)]


def test_a_peer_answers_one_request_after_the_other(command: list[str]) -> None:
    with PeerProcess(command) as peer:
        assert peer.rate("prefill", tokens=32) > 0
        assert peer.rate("decode", sequences=2) > 0
    assert first_token_s(command) > 0


def test_a_peer_that_fails_says_why(command: list[str]) -> None:
    with PeerProcess(command) as peer, pytest.raises(PeerFailed, match="too many for this peer"):
        peer.rate("decode", sequences=4)


def test_every_peer_has_an_environment_and_a_driver() -> None:
    root = Path(__file__).parents[3]
    for peer in PEERS:
        assert peer.environment in ENVIRONMENTS
        assert (root / (peer.module.replace(".", "/") + ".py")).is_file()
