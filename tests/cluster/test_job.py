"""What each worker of a job does, here as the only one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingot.api.callbacks import Callbacks
from ingot.cluster.job import TrainingJob, new_job
from ingot.errors import RecipeError, TrainingError, UsageError
from ingot.training.distributed.data_parallel import Workers
from ingot.training.monitoring.events import Event, Started, Stepped


def job_in(folder: Path, texts: Path, small: list[str], name: str = "first") -> TrainingJob:
    settings = (*small[1::2], "run.steps=12", "run.evaluations=4")
    return new_job([texts], folder, name=name, settings=settings)


def fail_after(step: int, seen: list[Event]) -> Callbacks:
    def observe(event: Event) -> None:
        seen.append(event)
        if isinstance(event, Stepped) and event.step == step:
            raise RuntimeError("the connection was closed by a peer")

    return Callbacks(on_event=observe)


def test_a_lost_job_resumes_from_its_checkpoint_and_another_is_refused(
    tmp_path: Path, texts: Path, small: list[str]
) -> None:
    run, seen = tmp_path / "run", list[Event]()
    with pytest.raises(RuntimeError, match="closed by a peer"):
        job_in(run, texts, small).work(fail_after(8, seen))
    with pytest.raises(TrainingError, match="holds a run already"):
        job_in(run, texts, small, name="second").work(Callbacks())
    outcome = job_in(run, texts, small).work(fail_after(-1, seen))
    started = [event for event in seen if isinstance(event, Started)]
    assert [event.step for event in started] == [0, 6]
    assert job_in(run, texts, small).trained(outcome).result.steps == 12
    assert not (run / ".job").exists()


def test_a_refused_job_leaves_nothing(tmp_path: Path, texts: Path) -> None:
    job = new_job([texts], tmp_path / "run", settings=("run.stepps=1",))
    with pytest.raises(RecipeError):
        job.work(Callbacks())
    assert list(tmp_path.iterdir()) == []


def test_paths_are_absolute_and_names_on_the_hub_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = [Path("a"), Path("hf:owner/name")]
    job = new_job(texts, Path("out"), recipe=Path("r.toml"), start=Path("my.ingot"))
    assert job.texts == (str(tmp_path / "a"), "hf:owner/name")
    assert (job.out, job.recipe) == (str(tmp_path / "out"), str(tmp_path / "r.toml"))
    assert job.start == str(tmp_path / "my.ingot")
    assert job.name != new_job(texts, Path("out")).name


def test_standard_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="-: cannot be read by several workers"):
        new_job([Path("-")], tmp_path)


def test_a_folder_that_a_worker_does_not_see_is_named(tmp_path: Path) -> None:
    job = new_job([tmp_path], tmp_path / "run")
    with pytest.raises(TrainingError, match=r"run: is not seen by the worker on .*; keep runs"):
        job._require_visible("run.json", Workers())
