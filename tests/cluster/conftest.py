"""Tests on Ray: run by ``make cluster``, left out where Ray is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

WITHOUT_RAY = ("conftest.py", "test_imports.py", "test_job.py", "test_nodes.py", "test_torchrun.py")

collect_ignore = (
    []
    if find_spec("ray")
    else [path.name for path in Path(__file__).parent.glob("*.py") if path.name not in WITHOUT_RAY]
)
