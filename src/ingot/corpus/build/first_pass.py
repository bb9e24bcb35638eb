"""First pass of a build: deduplicate, choose the split, sample for the tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ingot.corpus.build.build_state import BuildState
from ingot.corpus.build.exact_dedup import ExactDedup
from ingot.corpus.build.left_out import LeftOut
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

CHECKPOINT_BYTES = 64 << 20
"""Bytes of text between two checkpoints: a few seconds of work."""

CHECKED_BYTES = 256 << 10
"""Bytes of the sample by which a tokenizer's fast encoder is checked."""

_CHECKSUM_MASK = (1 << 64) - 1


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
    """Outcome of the first pass.

    Attributes:
        report: What was read and left out.
        mode: How to hold out text.
        sample: Documents for the tokenizer, or to check one that is given.
        checksum: Of all documents read, the duplicates included.
    """

    report: ReadReport
    mode: SplitMode
    sample: DocumentSample
    checksum: int


def add_checksum(checksum: int, document: Document) -> int:
    """Return the checksum of documents read so far with one more: the sum of their digests."""
    return (checksum + int.from_bytes(document.digest[:8], "little")) & _CHECKSUM_MASK


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
    checksum: int = state.get("checksum", 0)
    sample_bytes = config.tokenizer_sample_bytes if sampling else CHECKED_BYTES
    sample = DocumentSample(work.state, sample_bytes, config.seed)
    if state.get("done"):
        report.restore(state["report"])
        return FirstPassResult(report, census.mode(), sample, checksum)
    total = work.files.size
    dedup = _Dedup(work.state, config.near_duplicates)
    for document in work.read(report, cursor, state.get("report")):
        checksum = add_checksum(checksum, document)
        if dedup.accepts(document, cursor.number, report):
            count(document, report)
            census.add(document)
            sample.add(document)
        work.progress.report("read", report.source_bytes, total)
        if work.due(document.size):
            kept = f"{report.text_bytes / 1e6:,.1f} MB of text read"
            dedup.flush()
            work.checkpoint("first_pass", _state(report, cursor, census, checksum), kept)
    if not report.documents:
        left_out = report.summary()
        raise CorpusError(
            f"no text found{f': {left_out}' if left_out else ''}",
            where=names(work.inputs),
            fix="give files or folders that hold UTF-8 text",
        )
    work.progress.report("read", total, total)
    dedup.flush()
    done = {**_state(report, cursor, census, checksum), "done": True}
    work.checkpoint("first_pass", done, "first pass")
    return FirstPassResult(report, census.mode(), sample, checksum)


def names(inputs: Sequence[Input]) -> str:
    """Return the names of the first sources, for messages."""
    shown = ", ".join(str(item.path if item.content is None else item.name) for item in inputs[:3])
    return (shown or "corpus") + (" and more" if len(inputs) > 3 else "")


class _Dedup:
    """Exact deduplication, then near deduplication if the config asks for it."""

    def __init__(self, state: BuildState, threshold: float | None) -> None:
        self._exact = ExactDedup(state)
        self._left_out = LeftOut(state)
        self._near = None if threshold is None else NearDedup(state, threshold)

    def accepts(self, document: Document, number: int, report: ReadReport) -> bool:
        """Return whether to keep document ``number``; count the reason if not."""
        if not self._exact.add(document.digest):
            reason = Reason.DUPLICATE
        elif self._near and not self._near.add(document.text, number):
            reason = Reason.NEAR_DUPLICATE
        else:
            return True
        self._left_out.add(number, reason)
        report.skip(reason, document.origin)
        return False

    def flush(self) -> None:
        """Write what is in memory alone, before the state is committed."""
        self._exact.flush()


def _state(
    report: ReadReport, cursor: ReadCursor, census: SplitCensus, checksum: int
) -> dict[str, Any]:
    return {
        "report": report.state(),
        "cursor": asdict(cursor),
        "checksum": checksum,
        "census": {
            "train_bytes": census.train_bytes,
            "validation_bytes": census.validation_bytes,
        },
    }
