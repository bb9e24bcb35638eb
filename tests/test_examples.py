"""Every script of ``examples/``, as its first lines say to run it, one after another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the scripts run in; each leaves what the next one needs."""
    return tmp_path_factory.mktemp("examples")


def run(script: str, *arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, FOLDER / script, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_train_and_seal(texts: Path, folder: Path) -> None:
    out = run("train_and_seal.py", texts, "my.ingot", "3s", cwd=folder)
    assert "bits per byte" in out
    assert "my.ingot: digest " in out
    assert out.partition("my.ingot: digest ")[2].partition("\n")[2].strip()  # what it wrote


def test_fine_tune_and_compare(sealed: Path, folder: Path) -> None:
    lines = run("fine_tune_and_compare.py", sealed, "tuned.ingot", cwd=folder).splitlines()
    assert lines[0].startswith("held-out loss ")
    digest = lines[1].partition("digest ")[2][:16]
    assert lines[1].endswith("parent None")
    assert f"parent {digest}" in lines[3]
    assert lines[2] != lines[4]  # the base and the tuned model answer differently


def test_serve_and_chat(sealed: Path, folder: Path) -> None:
    out = run("serve_and_chat.py", sealed, "What is 2 plus 3?", cwd=folder)
    assert "answered by the weights " in out


@pytest.mark.parametrize("script", sorted(path.name for path in FOLDER.glob("*.py")))
def test_each_is_short_and_says_how_to_run_it(script: str) -> None:
    text = (FOLDER / script).read_text()
    assert len(text.splitlines()) < 40
    assert f"python examples/{script} " in text
    assert f'run("{script}"' in Path(__file__).read_text()
