from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig


@pytest.fixture(scope="module")
def impatient(ingot: Ingot, engine: EngineLoop) -> Iterator[Server]:
    """A server with short deadlines."""
    config = ServerConfig(
        port=0,
        header_timeout_s=0.3,
        body_timeout_s=0.3,
        write_timeout_s=0.3,
        max_head_bytes=2000,
        drain_timeout_s=1,
    )
    with Server(ingot, engine, config) as server:
        yield server
