"""Tests on Ray: run by ``make cluster``, left out where Ray is not installed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

WITHOUT_RAY = (
    "conftest.py",
    "test_grid.py",
    "test_imports.py",
    "test_job.py",
    "test_nodes.py",
    "test_torchrun.py",
)

collect_ignore = (
    []
    if find_spec("ray")
    else [path.name for path in Path(__file__).parent.glob("*.py") if path.name not in WITHOUT_RAY]
)
# Without them Ray writes a token into the home folder and sends figures of its use to its makers.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


class RayCluster:
    """Two nodes of Ray on this machine, with one CPU each, and its port for clients."""

    _NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster  # noqa: PLC0415 (it may be absent)

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        head = self._NODE | {"ray_client_server_port": port}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.address = f"ray://127.0.0.1:{port}"
        self.add_a_node()

    def add_a_node(self) -> None:
        self._second = self._cluster.add_node(**self._NODE)

    def lose_a_node(self) -> None:
        self._cluster.remove_node(self._second, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """A cluster of two nodes; leave it as it was."""
    cluster = RayCluster()
    try:
        yield cluster
    finally:
        cluster.close()
