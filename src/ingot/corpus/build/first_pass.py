"""First pass of a build: deduplicate, choose the split, sample for the tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ingot.corpus.build.build_state import BuildState
from ingot.corpus.build.exact_dedup import ExactDedup
from ingot.corpus.build.near_dedup import NearDedup
from ingot.corpus.build.progress import ProgressReporter
from ingot.corpus.build.split import SplitCensus
from ingot.corpus.build.staging import StagingDir
from ingot.corpus.build.tokenizer_sample import DocumentSample
from ingot.corpus.config import CorpusConfig
from ingot.corpus.reading.documents import Document, ReadCursor, count, read_files
from ingot.corpus.reading.files import FileList
from ingot.corpus.reading.inputs import Input
from ingot.corpus.reading.report import ReadReport, Reason
from ingot.corpus.store.manifest import SplitMode
from ingot.errors import CorpusError

CHECKPOINT_BYTES = 16 << 20
"""Bytes of text between two checkpoints: a few seconds of work."""


@dataclass(slots=True)
class Work:
    """Shared context of both passes of a build.

    Attributes:
        inputs: The sources.
        files: Their files, listed once.
        config: Sizes and choices.
        staging: The hidden folder of the build.
        state: The state of the build as of the last checkpoint.
        progress: Receives the progress of each phase.
    """

    inputs: Sequence[Input]
    files: FileList
    config: CorpusConfig
    staging: StagingDir
    state: BuildState
    progress: ProgressReporter
    _since: int = 0

    def read(
        self, report: ReadReport, cursor: ReadCursor, resume: dict[str, Any] | None
    ) -> Iterator[Document]:
        """Yield the documents from ``cursor`` on; see ``read_files``."""
        if resume is None:  # a resumed report holds them already
            report.restore(self.files.report.state())
        return read_files(self.files.files, report, cursor, self.config, resume=resume)

    def due(self, size: int) -> bool:
        """Count bytes of text; return whether a checkpoint is due."""
        self._since += size
        if self._since < CHECKPOINT_BYTES:
            return False
        self._since = 0
        return True

    def checkpoint(self, name: str, state: dict[str, Any], kept: str) -> None:
        """Make the state of a pass durable, together with all tables; ``kept`` says what it is."""
        self.state.put(name, state)
        self.state.commit()
        self.staging.keep_as(kept)


@dataclass(frozen=True, slots=True)
class FirstPassResult:
    """Outcome of the first pass."""

    report: ReadReport
    mode: SplitMode
    sample: DocumentSample


def run_first_pass(work: Work, *, sampling: bool) -> FirstPassResult:
    """Read all documents: find duplicates, choose the split mode, sample for the tokenizer.

    Resumes from the last checkpoint of the build state.

    Raises:
        CorpusError: there is no text, or something in it is damaged.
    """
    config = work.config
    state = work.state.get("first_pass") or {}
    report, cursor = ReadReport(), ReadCursor(**state.get("cursor", {}))
    census = SplitCensus(config.validation_fraction, **state.get("census", {}))
    sample = DocumentSample(work.state, config.tokenizer_sample_bytes, config.seed)
    if state.get("done"):
        report.restore(state["report"])
        return FirstPassResult(report, census.mode(), sample)
    total = work.files.size
    dedup = _Dedup(work.state, config.near_duplicates)
    for document in work.read(report, cursor, state.get("report")):
        if dedup.accepts(document, cursor.number, report):
            count(document, report)
            census.add(document)
            if sampling:
                sample.add(document)
        work.progress.report("read", report.source_bytes, total)
        if work.due(document.size):
            kept = f"{report.text_bytes / 1e6:,.1f} MB of text read"
            work.checkpoint("first_pass", _state(report, cursor, census), kept)
    if not report.documents:
        left_out = report.summary()
        raise CorpusError(
            f"no text found{f': {left_out}' if left_out else ''}",
            where=names(work.inputs),
            fix="give files or folders that hold UTF-8 text",
        )
    work.progress.report("read", total, total)
    done = {**_state(report, cursor, census), "done": True}
    work.checkpoint("first_pass", done, "first pass")
    return FirstPassResult(report, census.mode(), sample)


def names(inputs: Sequence[Input]) -> str:
    """Return the names of the first sources, for messages."""
    shown = ", ".join(str(item.path if item.content is None else item.name) for item in inputs[:3])
    return (shown or "corpus") + (" and more" if len(inputs) > 3 else "")


class _Dedup:
    """Exact deduplication, then near deduplication if the config asks for it."""

    def __init__(self, state: BuildState, threshold: float | None) -> None:
        self._exact = ExactDedup(state)
        self._near = None if threshold is None else NearDedup(state, threshold)

    def accepts(self, document: Document, number: int, report: ReadReport) -> bool:
        """Return whether to keep document ``number``; count the reason if not."""
        if not self._exact.add(document.digest, number):
            report.skip(Reason.DUPLICATE, document.origin)
            return False
        if self._near and not self._near.add(document.text, number):
            self._exact.mark_near_duplicate(document.digest)
            report.skip(Reason.NEAR_DUPLICATE, document.origin)
            return False
        return True


def _state(report: ReadReport, cursor: ReadCursor, census: SplitCensus) -> dict[str, Any]:
    return {
        "report": report.state(),
        "cursor": asdict(cursor),
        "census": {
            "train_bytes": census.train_bytes,
            "validation_bytes": census.validation_bytes,
        },
    }
