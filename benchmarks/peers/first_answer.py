"""The first question to a peer: an environment that cannot answer is not installed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.peers.environments import PEERS, Environment, export
from benchmarks.peers.parity import ParityRequest, ask_parity
from benchmarks.peers.process import PeerProcess, first_token_s
from benchmarks.random_models import make_random_ingot
from ingot.artifact import open_ingot
from ingot.artifact.export import export_hf

_THREADS = 1
_ASKED = ParityRequest([[1, 2, 3]], 1, [[1, 2, 3]])


def ask_once(environment: Environment) -> None:
    """Have a peer make one token with each of its formats, or train one update.

    Raises:
        subprocess.SubprocessError: Its driver or its export tool failed.
        PeerFailed: It ended without an answer.
    """
    if environment.name == "litgpt":
        command = [str(environment.python), "-m", "benchmarks.peers.drivers.litgpt_training"]
        with PeerProcess(command) as process:
            process.rate("train", updates=1)
        return
    with tempfile.TemporaryDirectory(prefix="ingot-peer-") as name:
        if environment.name == "transformers":
            folder = make_random_ingot(Path(name), "5M", "bf16")
            with open_ingot(folder) as ingot:
                made = export_hf(ingot, Path(name) / "hf", dtype="float32")
            ask_parity("transformers", made.path, _ASKED, "float32")
            return
        models = Path(name) / "models"
        export(environment.name, make_random_ingot(Path(name), "5M", "bf16"), models)
        for peer in PEERS:
            if peer.environment == environment.name:
                first_token_s(peer.command(models, _THREADS))
