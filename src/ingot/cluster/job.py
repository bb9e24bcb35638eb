"""A training that several workers carry out: what each of them calls, first and after a loss."""

from __future__ import annotations

import contextlib
import json
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ingot.api import training
from ingot.api.callbacks import Callbacks
from ingot.corpus.reading.hub import PREFIX
from ingot.corpus.reading.inputs import STDIN
from ingot.errors import IngotError, TrainingError, UsageError
from ingot.files import write_atomic
from ingot.training.config.recipe import make_recipe
from ingot.training.distributed.data_parallel import Workers
from ingot.training.monitoring.run_reporter import TrainingResult
from ingot.training.run_folder.run import RECORD, refuse_existing_run

RESTARTS = 3
"""How often lost workers are replaced before a run is given up."""
_MARK = ".job"  # in the run's folder while the job lasts: the job's name


@dataclass(frozen=True)
class TrainingJob:
    """The arguments of ``ingot train`` or, without texts, of ``ingot resume``.

    Paths are absolute. Every machine must see them under the same name.
    """

    name: str
    """Tells this job from any other."""
    out: str
    """Folder of the run."""
    texts: tuple[str, ...] = ()
    budget: str | None = None
    recipe: str | None = None
    settings: tuple[str, ...] = ()
    start: str | None = None
    task: str | None = None
    accept_changes: bool = False

    def work(self, callbacks: Callbacks) -> dict[str, Any]:
        """Train as one of the workers; after a restart, from the last checkpoint.

        Returns:
            How the run ended, as JSON can hold it; the same in every worker.

        Raises:
            IngotError: the run cannot be trained, and starting again would not help.
        """
        workers = Workers.join()
        with self._marked(workers) as begun:
            if workers.broadcast(float(begun or not self.texts)):
                self._require_visible(RECORD, workers)
                run = training.resume(
                    self.out,
                    settings=() if self.texts else self.settings,
                    accept_changes=self.accept_changes,
                    callbacks=callbacks,
                )
            else:
                self._require_visible(_MARK, workers)
                run = training.train(
                    self.texts,
                    out=self.out,
                    budget=self.budget,
                    recipe=self.recipe,
                    settings=self.settings,
                    start=self.start,
                    task=self.task,  # type: ignore[arg-type]  # the recipe checks it
                    callbacks=callbacks,
                )
            # The others neither score nor count what rank 0 does.
            outcome = {"result": asdict(run.result), "recipe": run.recipe.model_dump(mode="json")}
            told: dict[str, Any] = json.loads(workers.broadcast_object(json.dumps(outcome)) or "")
            return told

    def trained(self, outcome: Mapping[str, Any]) -> training.TrainedRun:
        """Return the run that ended so."""
        return training.TrainedRun(
            Path(self.out), make_recipe(outcome["recipe"]), TrainingResult(**outcome["result"])
        )

    def _require_visible(self, name: str, workers: Workers) -> None:
        """Check that a file that rank 0 has written in the run's folder is there for this worker.

        All workers look before any continues: rank 0 may fail next, and remove what it has written.

        Raises:
            TrainingError: it is not.
        """
        seen = (Path(self.out) / name).exists()
        workers.all_reduce(torch.ones(1))
        if not seen:
            raise TrainingError(
                f"is not seen by the worker on {socket.gethostname()}",
                where=self.out,
                fix="keep runs and texts on storage that every machine mounts at the same path",
            )

    @contextlib.contextmanager
    def _marked(self, workers: Workers) -> Iterator[bool]:
        """Mark a new run's folder inside the block; tell whether this job made the run in it.

        The mark stays if a worker is lost, so that the next attempt resumes the run.

        Raises:
            TrainingError: there is a run of another job.
        """
        if not workers.is_main or not self.texts:
            yield False
            return
        folder, mark = Path(self.out), Path(self.out) / _MARK
        ours = mark.is_file() and mark.read_text() == self.name
        made = (folder / RECORD).exists()
        if not ours:
            refuse_existing_run(folder)
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(mark, self.name.encode())
        try:
            yield made
        except IngotError:
            self._unmark()
            raise
        self._unmark()

    def _unmark(self) -> None:
        (Path(self.out) / _MARK).unlink()
        with contextlib.suppress(OSError):  # not empty
            Path(self.out).rmdir()


def new_job(
    texts: Iterable[Path],
    out: Path,
    *,
    recipe: Path | None = None,
    start: Path | None = None,
    name: str | None = None,
    **given: Any,
) -> TrainingJob:
    """Return a job with absolute paths.

    Args:
        texts: What ``ingot train`` takes; nothing to resume the run in ``out``.
        out: Folder of the run.
        recipe: A recipe file.
        start: An ingot to fine-tune.
        name: Tells the job from any other; a new name by default.
        given: The other fields of the job.

    Raises:
        UsageError: a text is standard input, which one worker alone would see.
    """
    if any(str(text) == STDIN for text in texts):
        raise UsageError(
            "cannot be read by several workers",
            where=STDIN,
            fix="build a corpus first: ingot data build - --out my_corpus",
        )
    named = [str(t) if str(t).startswith(PREFIX) else str(t.resolve()) for t in texts]
    return TrainingJob(
        name=name or uuid.uuid4().hex,
        out=str(out.resolve()),
        texts=tuple(named),
        recipe=str(recipe.resolve()) if recipe else None,
        start=str(start.resolve()) if start else None,
        **given,
    )
