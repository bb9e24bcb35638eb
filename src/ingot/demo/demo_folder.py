"""The demo's folder and what in it, and beside it, the demo may replace.

A file ``demo.json`` marks a folder that the demo made. Only files that a run consists
of are ever removed from it, and only a run or an ingot that the demo made is replaced.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ingot.artifact import open_ingot
from ingot.demo.demo_texts import prose_version, write_prose
from ingot.errors import ArtifactError, UsageError, from_validation
from ingot.files import write_atomic
from ingot.folder_lock import LOCK, folder_locked
from ingot.model.tokenizer_files import TOKENIZER
from ingot.training.run_folder.run import RECIPE, RECORD, Run, edited_recipe

_MARKER = "demo.json"
PROSE = "prose.jsonl"
_KEPT = frozenset({_MARKER, PROSE, LOCK})
_RUN_FILES = frozenset(
    {RECORD, RECIPE, TOKENIZER, "corpus", "checkpoints", "metrics.jsonl", "tensorboard"}
)


class _Marker(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    budget_seconds: float
    """Wall time that the demo trained its run for."""
    ingot_digest: str | None = None
    """Digest of the ingot that the demo sealed last."""
    prose_version: str | None = None
    """What the text in the folder was made from."""


class DemoFolder:
    """The folder that the demo trains in.

    Args:
        path: The folder; ``begin`` makes it if it does not exist.
        budget: Wall time for a new run, in seconds.

    Raises:
        UsageError: the folder holds anything, and the demo did not make it.
    """

    def __init__(self, path: Path, budget: float) -> None:
        self.path = path
        try:
            occupied = os.path.lexists(path) and (not path.is_dir() or any(path.iterdir()))
            self._marker = self._read_marker() if occupied else None
            if occupied and self._marker is None:
                raise UsageError(
                    "holds files that ingot demo did not make, and is left as it is",
                    where=path,
                    fix="choose another --folder",
                )
        except OSError as error:
            raise UsageError(
                f"cannot be used ({error.strerror})", where=path, fix="choose another --folder"
            ) from error
        self._budget = budget

    @property
    def has_run(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / RECORD).is_file()

    @property
    def same_budget(self) -> bool:
        """Whether what is here, if anything, was made for the same budget."""
        return self._marker is None or self._marker.budget_seconds == self._budget

    def begin(self) -> None:
        """Make the folder and mark it as the demo's, before its run is begun."""
        self.path.mkdir(parents=True, exist_ok=True)
        digest, version = self._sealed(), self._marker.prose_version if self._marker else None
        self._write_marker(
            _Marker(budget_seconds=self._budget, ingot_digest=digest, prose_version=version)
        )

    @property
    def prose(self) -> Path:
        """The file of the demo's prose; ``write_prose`` makes it."""
        return self.path / PROSE

    @property
    def prose_is_current(self) -> bool:
        """Whether the prose is there, and was made from the packages that are installed now."""
        return (
            self._marker is not None
            and self._marker.prose_version == prose_version()
            and self.prose.is_file()
        )

    def write_prose(self, on_progress: Callable[[float], None]) -> None:
        """Write the prose and note what it was made from.

        Args:
            on_progress: Called with the share that was read, from 0 to 1.
        """
        write_prose(self.prose, on_progress)
        if self._marker:
            self._write_marker(self._marker.model_copy(update={"prose_version": prose_version()}))

    def clear(self, run: Run | None) -> None:
        """Remove the run, to begin another one in its place.

        Args:
            run: The run, if one was begun.

        Raises:
            UsageError: the folder holds a file of the user's, the user changed the run, or
                another process trains it; nothing was removed.
        """
        with folder_locked(self.path, UsageError, "is being trained"):
            self._clear(run)

    def _clear(self, run: Run | None) -> None:
        where, fix = self.path, "remove the folder yourself, or choose another --folder"
        names = {path.name for path in self.path.iterdir()}
        for name in sorted(name for name in names if not _is_of_run(name) and name not in _KEPT):
            raise UsageError(
                "was not made by ingot demo, so the folder is left as it is",
                where=where / name,
                fix=fix,
            )
        made_for = self._marker.budget_seconds if self._marker else None
        if run is not None and edited_recipe(run).run.budget_seconds != made_for:
            raise UsageError("holds a run that was changed since the demo", where=where, fix=fix)
        # The record goes first: without it, what a crash leaves is not taken for a run.
        for name in sorted(filter(_is_of_run, names), key=lambda name: name != RECORD):
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def check_ingot(self, out: Path) -> None:
        """Check that the demo may write an ingot to ``out``.

        Raises:
            UsageError: something is there that the demo did not make.
        """
        if not os.path.lexists(out):
            return
        try:
            with open_ingot(out, verify=False) as ingot:
                made_here = self._sealed() == ingot.digest
        except ArtifactError:
            made_here = False
        if not made_here:
            raise UsageError(
                f"was not made by the demo in {self.path}, and is left as it is",
                where=out,
                fix="choose another --out, or remove it yourself",
            )

    def sealed(self, digest: str) -> None:
        """Note the digest of the ingot that was sealed, so that it may be replaced later."""
        if self._marker and self._marker.ingot_digest != digest:
            self._write_marker(self._marker.model_copy(update={"ingot_digest": digest}))

    def _sealed(self) -> str | None:
        return self._marker.ingot_digest if self._marker else None

    def _read_marker(self) -> _Marker | None:
        path = self.path / _MARKER
        if not self.path.is_dir() or not path.is_file():
            return None
        try:
            return _Marker.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise from_validation(
                UsageError, error, where=path, what="is damaged", fix="choose another --folder"
            ) from error

    def _write_marker(self, marker: _Marker) -> None:
        write_atomic(self.path / _MARKER, marker.model_dump_json(indent=1).encode())
        self._marker = marker


def _is_of_run(name: str) -> bool:
    """Tell whether a run makes a file of this name, or a crash leaves its hidden draft."""
    return name in _RUN_FILES or any(name.startswith(f".{known}.") for known in _RUN_FILES)
