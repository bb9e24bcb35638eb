"""The cache of imported models: named by content, made once, checked for changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ingot
from ingot.api.sources import as_ingot
from ingot.artifact.import_ import cache_folder
from ingot.artifact.source_kind import is_foreign
from ingot.errors import ArtifactError
from tests.artifact.import_.conftest import Maker


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


def test_a_folder_is_imported_once(checkpoint: Maker) -> None:
    folder, _ = checkpoint("qwen3")
    said: list[str] = []
    first, second = as_ingot(folder, said.append), as_ingot(folder, said.append)
    assert first == second
    assert first.parent == cache_folder()
    assert [text.split()[0] for text in said] == ["importing", str(folder), str(folder)]


def test_the_same_content_elsewhere_is_the_same_ingot(checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("qwen3")
    first = as_ingot(folder)
    assert as_ingot(folder.rename(tmp_path / "moved")) == first


def test_changed_content_is_imported_anew(checkpoint: Maker) -> None:
    folder, _ = checkpoint("qwen3")
    first = as_ingot(folder)
    config = folder / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 2e-06'))
    assert config.read_text() != text
    assert as_ingot(folder) != first


def test_an_import_that_was_removed_is_made_again(checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("qwen3")
    first = as_ingot(folder)
    first.rename(tmp_path / "gone.ingot")
    assert as_ingot(folder) == first
    assert (first / "ingot.json").is_file()


def test_an_ingot_stays_where_it_is(pristine: Path) -> None:
    assert not is_foreign(pristine)
    assert as_ingot(pristine) == pristine
    assert not cache_folder().exists()


def test_a_refused_folder_leaves_nothing(checkpoint: Maker) -> None:
    folder, _ = checkpoint("qwen3")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ArtifactError, match=r"tokenizer.json: is missing"):
        as_ingot(folder)
    assert not list(cache_folder().glob("*")) if cache_folder().exists() else True


def test_two_processes_make_one_ingot(checkpoint: Maker) -> None:
    folder, _ = checkpoint("qwen3")
    script = "import sys; from ingot.api.sources import as_ingot; print(as_ingot(sys.argv[1]))"
    command = [sys.executable, "-c", script, str(folder)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ), text=True)
        for _ in range(2)
    ]
    answers = {process.communicate(timeout=300)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert answers == {str(path) for path in cache_folder().glob("*.ingot")}


def test_load_takes_a_foreign_folder(checkpoint: Maker) -> None:
    folder, _ = checkpoint("qwen3")
    with ingot.load(folder) as model:
        assert len(model.generate("def", max_tokens=4, temperature=0).token_ids) <= 4
        assert model.ingot.path == as_ingot(folder)
