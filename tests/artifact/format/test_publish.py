from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.artifact.format.publish import publish, replace_by_two_renames


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A finished folder and the one it replaces."""
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    return tmp_path / "new", tmp_path / "old"


@pytest.mark.parametrize("replace", [publish, replace_by_two_renames])
def test_replaces_and_leaves_nothing_behind(
    folders: tuple[Path, Path], replace: Callable[[Path, Path], None]
) -> None:
    new, old = folders
    replace(new, old)
    assert (old / "content").read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


def test_moves_to_a_free_name(folders: tuple[Path, Path], tmp_path: Path) -> None:
    publish(folders[0], tmp_path / "fresh")
    assert (tmp_path / "fresh/content").read_text() == "new"


def test_a_failed_replacement_puts_the_old_folder_back(folders: tuple[Path, Path]) -> None:
    _, old = folders
    with pytest.raises(FileNotFoundError):
        replace_by_two_renames(old.parent / "absent", old)
    assert (old / "content").read_text() == "old"
    assert sorted(path.name for path in old.parent.iterdir()) == ["new", "old"]
