"""The names of ``import ingot``."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ingot


@pytest.mark.parametrize("name", ingot.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(ingot, name).__name__ == name


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = ingot.trian


def test_inference_loads_no_pytorch() -> None:
    script = (
        "import sys, ingot; ingot.load, ingot.serve, ingot.verify, ingot.Model, "
        "ingot.ServerConfig, ingot.EngineConfig; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
