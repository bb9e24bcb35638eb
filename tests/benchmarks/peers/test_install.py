from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers import environments
from benchmarks.peers.__main__ import install_peer
from benchmarks.peers.environments import Environment
from benchmarks.peers.process import PeerFailed


@pytest.mark.long
def test_a_peer_that_cannot_answer_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS D17. Its environment is made, and lacks what its driver imports."""
    monkeypatch.setattr(environments, "HOME", tmp_path)
    environment = Environment("litgpt", packages=("pip",))
    with pytest.raises(PeerFailed, match="No module named"):
        install_peer(environment)
    assert environment.python.exists()
    assert not environment.installed
