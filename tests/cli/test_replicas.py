"""``ingot serve --cluster``, as far as it needs no Ray; the rest is in tests/cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_replicas_without_a_cluster_are_refused(here: Cli, sealed: Path) -> None:
    done = here("serve", sealed, "--replicas", "2", code=2)
    assert done.stderr.splitlines() == [
        "error: --replicas: needs --cluster; say which cluster, or: local"
    ]


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_a_cluster_needs_ray(here: Cli, sealed: Path) -> None:
    done = here("serve", sealed, "--cluster", "local", code=2)
    assert done.stderr.splitlines() == ["error: --cluster: needs Ray; pip install 'ingot[cluster]'"]
