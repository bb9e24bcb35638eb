from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingot.training.config.recipe import Recipe
from ingot.training.run_folder import checkpoint
from ingot.training.run_folder.run import PretrainingRun
from ingot.training.run_folder.stopped import stopped_run


def test_what_is_kept_is_told_at_each_stage(
    recipe: Callable[..., Recipe],
    new_run: Callable[..., PretrainingRun],
    watched: Any,
    tmp_path: Path,
) -> None:
    """FAULTS D4: a line on what was kept, with the command that resumes."""
    assert "stopped before anything was kept" in str(stopped_run(tmp_path / "none"))
    (tmp_path / "part" / ".corpus.building").mkdir(parents=True)
    assert "nothing was kept, as it had just begun" in str(stopped_run(tmp_path / "part"))
    (tmp_path / "part" / ".corpus.building" / "kept").write_text("the first pass")
    assert "kept: the first pass" in str(stopped_run(tmp_path / "part"))
    (tmp_path / "part" / "corpus").mkdir()
    (tmp_path / "part" / "corpus" / "corpus.json").touch()
    assert "the corpus is kept" in str(stopped_run(tmp_path / "part"))
    run = new_run(recipe())
    resume = f"continue with: ingot resume {run.path}"
    assert f"stopped before the first checkpoint; {resume}" in str(stopped_run(run.path))
    watched.train(run)
    assert "the run is finished, and its checkpoint of update 12" in str(stopped_run(run.path))
    state = checkpoint.latest(run.path) / "state.json"
    state.write_text(state.read_text().replace('"finished": true', '"finished": false'))
    assert f"the last checkpoint is of update 12; {resume}" in str(stopped_run(run.path))
    state.write_text("damaged")
    assert f"the last checkpoint is of update 12; {resume}" in str(stopped_run(run.path))
    assert stopped_run(run.path).exit_code == 130
