"""What `make wheel` builds from; building itself takes minutes and is left to it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("wheel_script", ROOT / "scripts" / "wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_wheel_is_built_of_what_git_lists(wheel: ModuleType, tmp_path: Path) -> None:
    """A module that was built here, for this Python, must not get into a wheel for another."""
    copied = wheel._sources(tmp_path / "sources")
    names = {path.relative_to(copied).as_posix() for path in copied.rglob("*") if path.is_file()}
    assert {"pyproject.toml", "src/ingot/native/CMakeLists.txt", "deploy/build.lock"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc"))]
    for name in ("pyproject.toml", "src/ingot/native/bindings.cpp"):
        assert (copied / name).read_bytes() == (ROOT / name).read_bytes()


def test_a_failing_tool_ends_the_build_with_what_it_said(wheel: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"(?s)error: ruff failed: .*nonsense"):
        wheel._output(["ruff", "nonsense"])
