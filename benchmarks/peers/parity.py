"""Peers asked for greedy answers and for the loss on a text."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.peers.environments import ENVIRONMENTS, EnvironmentName
from benchmarks.peers.process import PeerFailed

_PATIENCE_S = 3600.0
_ROOT = Path(__file__).parents[2]

PARITY_DRIVERS: Mapping[EnvironmentName, str] = MappingProxyType(
    {
        "transformers": "benchmarks.peers.drivers.transformers_parity",
        "llama": "benchmarks.peers.drivers.llama_parity",
        "openvino": "benchmarks.peers.drivers.openvino_parity",
        "vllm": "benchmarks.peers.drivers.vllm_parity",
    }
)
"""The module of each peer's driver."""


@dataclass(frozen=True)
class ParityRequest:
    """What every engine is asked."""

    prompts: Sequence[Sequence[int]]
    answer: int
    """Tokens of each answer."""
    windows: Sequence[Sequence[int]]
    """Token sequences to score."""


@dataclass(frozen=True)
class ParityAnswer:
    """What one engine answered."""

    answers: list[list[int]]
    loss: float
    """Mean over all tokens of the windows but each first, in nats."""


def ask_parity(
    name: EnvironmentName, model: Path, request: ParityRequest, *options: str
) -> ParityAnswer:
    """Ask a peer; ``options`` are what its driver takes after the model.

    Raises:
        PeerFailed: It ended without an answer; the text is the end of its output.
    """
    done = subprocess.run(  # noqa: S603 (our own driver)
        [str(ENVIRONMENTS[name].python), "-m", PARITY_DRIVERS[name], str(model), *options],
        input=json.dumps(asdict(request)),
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
        cwd=_ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(_ROOT)},
    )
    if done.returncode:
        raise PeerFailed(done.stderr[-800:])
    return ParityAnswer(**json.loads(done.stdout))
