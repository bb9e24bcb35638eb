"""The lock files, and the image that is made of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("serving", "build", "cluster")


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Return each package's version and number of hashes."""
    text = (ROOT / "deploy" / f"{name}.lock").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        package = re.match(r"([A-Za-z0-9_.-]+)==(\S+)", line)
        assert package, line
        found[normal(package[1])] = package[2], line.count("--hash=sha256:")
    return found


def normal(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=;!~ ]", name)[0]).lower()


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_has_hashes_and_the_tested_version(name: str) -> None:
    """FAULTS B8: hashes for dependencies."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = {normal(line): line.partition("==")[2] for line in lines if "==" in line}
    for package, (version, hashes) in locked(name).items():
        assert hashes > 0, package
        assert tested.get(package, version) == version, package


def test_the_locks_hold_all_that_serving_building_and_clusters_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    serving = project["project"]["dependencies"] + extras["otel"] + extras["sign"]
    assert {normal(each) for each in serving} <= locked("serving").keys()
    cluster = project["project"]["dependencies"] + extras["cluster"]
    assert {normal(each) for each in cluster} <= locked("cluster").keys()
    assert {normal(each) for each in project["build-system"]["requires"]} <= locked("build").keys()


@pytest.mark.parametrize("name", LOCKS)
def test_no_index_is_named(name: str) -> None:
    text = (ROOT / "deploy" / f"{name}.lock").read_text()
    assert "://" not in text
    assert "--index" not in text


def test_the_image_takes_packages_by_hash_alone() -> None:
    text = (ROOT / "deploy" / "Containerfile").read_text().replace("\\\n", " ")
    installs = [
        line for line in re.split(r"&&|\n", text) if "pip install" in line or "pip wheel" in line
    ]
    assert len(installs) == 4
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)


def test_the_images_context_is_what_is_named() -> None:
    """FAULTS B8: .containerignore."""
    lines = (ROOT / ".containerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    named = [line[1:] for line in rules if line.startswith("!")]
    assert all((ROOT / path).exists() for path in named)
    copied = re.findall(r"deploy/\w+\.lock", (ROOT / "deploy" / "Containerfile").read_text())
    assert set(copied) - {"deploy/*.lock"} <= set(named)
