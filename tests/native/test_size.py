"""How much the serving core takes on a disk, with all that it needs."""

from __future__ import annotations

import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import ingot
from ingot.native import _core

PACKAGE = Path(ingot.__file__).parent
PROJECT = PACKAGE.parent.parent / "pyproject.toml"
MOST_BYTES = 150_000_000


def closure(requirements: list[str]) -> set[str]:
    """Names of the distributions that these requirements bring."""
    found: set[str] = set()
    left = [Requirement(text) for text in requirements]
    while left:
        need = left.pop()
        extras = ("", *need.extras)
        wanted = need.marker is None or any(need.marker.evaluate({"extra": e}) for e in extras)
        name = need.name.lower().replace("_", "-")
        if wanted and name not in found:
            found.add(name)
            for text in distribution(need.name).requires or ():
                further = Requirement(text)
                if further.marker is None or any(
                    further.marker.evaluate({"extra": extra}) for extra in extras
                ):
                    left.append(Requirement(text.partition(";")[0]))
    return found


def installed_bytes(name: str) -> int:
    files = [Path(str(file.locate())) for file in distribution(name).files or ()]
    return sum(f.stat().st_size for f in files if f.suffix != ".pyc" and f.is_file())


@pytest.mark.skipif(not PROJECT.is_file(), reason="only where the source lies beside the tests")
def test_the_serving_core_is_small() -> None:
    needed = closure(tomllib.loads(PROJECT.read_text())["project"]["dependencies"])
    assert {"numpy", "tokenizers", "starlette"} <= needed
    assert "torch" not in needed
    left_out = {".cpp", ".h", ".cmake", ".txt", ".pyc"}
    own = sum(f.stat().st_size for f in PACKAGE.rglob("*") if f.suffix not in left_out)
    core = Path(str(_core.__file__)).stat().st_size
    sizes = {name: installed_bytes(name) for name in needed}
    total = own + core + sum(sizes.values())
    largest = sorted(sizes, key=lambda name: -sizes[name])[:8]
    report = ", ".join(f"{name} {sizes[name] / 1e6:.1f}" for name in largest)
    assert total <= MOST_BYTES, f"{total / 1e6:.1f} MB: ingot {(own + core) / 1e6:.1f}, {report}"
    assert total > 50_000_000, "something was not counted"
