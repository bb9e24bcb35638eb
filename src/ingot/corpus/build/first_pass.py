"""The first pass: read everything once, to see what there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ingot.corpus.build.build_state import Journal
from ingot.corpus.build.exact_duplicates import SeenDigests
from ingot.corpus.build.near_duplicates import NearDuplicates
from ingot.corpus.build.progress import ProgressTeller
from ingot.corpus.build.split import SplitCensus
from ingot.corpus.build.staging import Workplace
from ingot.corpus.build.tokenizer_sample import DocumentSample
from ingot.corpus.config import CorpusConfig
from ingot.corpus.reading.documents import Document, Place, count, read_files
from ingot.corpus.reading.inputs import Input, find_input_files
from ingot.corpus.reading.report import ReadReport, Reason
from ingot.corpus.store.manifest import SplitMode
from ingot.errors import CorpusError

CHECKPOINT_BYTES = 16 << 20
"""Text between two moments that a killed build can go on from: a few seconds' work."""


@dataclass(slots=True)
class Work:
    """What both passes of a build share.

    Attributes:
        inputs: The sources.
        config: Sizes and choices.
        place: The hidden folder of the build.
        journal: Its state, as of the last checkpoint.
        teller: Told how far it is.
    """

    inputs: Sequence[Input]
    config: CorpusConfig
    place: Workplace
    journal: Journal
    teller: ProgressTeller
    _since: int = 0

    def read(
        self, report: ReadReport, place: Place, resume: dict[str, Any] | None
    ) -> Iterator[Document]:
        """Yield the documents from ``place`` on; see ``read_files``."""
        files = find_input_files(self.inputs, report, self.config)
        return read_files(files, report, place, json_field=self.config.json_field, resume=resume)

    def due(self, size: int) -> bool:
        """Count text read; return whether it is time for a checkpoint."""
        self._since += size
        if self._since < CHECKPOINT_BYTES:
            return False
        self._since = 0
        return True

    def checkpoint(self, name: str, state: dict[str, Any]) -> None:
        """Make the state of a pass durable, with all that the tables hold."""
        self.journal.put(name, state)
        self.journal.commit()
        self.place.keep = True


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first pass found."""

    report: ReadReport
    mode: SplitMode
    sample: DocumentSample


def survey(work: Work, *, sampling: bool) -> Survey:
    """Read everything: find duplicates, choose the kind of split, sample for the tokenizer.

    Goes on from the last checkpoint of the journal.

    Raises:
        CorpusError: there is no text, or something in it is damaged.
    """
    config = work.config
    state = work.journal.get("read") or {}
    report, place = ReadReport(), Place(**state.get("place", {}))
    census = SplitCensus(config.validation_fraction, **state.get("census", {}))
    sample = DocumentSample(work.journal, config.tokenizer_sample_bytes, config.seed)
    if state.get("done"):
        report.restore(state["report"])
        return Survey(report, census.mode(), sample)
    total = sum(file.size for file in find_input_files(work.inputs, ReadReport(), config))
    novelty = _Novelty(work.journal, config.near_duplicates)
    for document in work.read(report, place, state.get("report")):
        if novelty.accepts(document, place.number, report):
            count(document, report)
            census.add(document)
            if sampling:
                sample.add(document)
        work.teller.tell("read", report.source_bytes, total)
        if work.due(document.size):
            work.checkpoint("read", _state(report, place, census))
    if not report.documents:
        left_out = report.summary()
        raise CorpusError(
            f"no text found{f': {left_out}' if left_out else ''}",
            where=names(work.inputs),
            fix="give files or folders that hold UTF-8 text",
        )
    work.teller.tell("read", total, total)
    work.journal.put("read", {**_state(report, place, census), "done": True})
    work.journal.commit()
    return Survey(report, census.mode(), sample)


def names(inputs: Sequence[Input]) -> str:
    """Return the sources in a few words."""
    shown = ", ".join(str(item.path if item.content is None else item.name) for item in inputs[:3])
    return (shown or "corpus") + (" and more" if len(inputs) > 3 else "")


class _Novelty:
    """Decides whether a document says something new."""

    def __init__(self, journal: Journal, threshold: float | None) -> None:
        self._seen = SeenDigests(journal)
        self._near = None if threshold is None else NearDuplicates(journal, threshold)

    def accepts(self, document: Document, number: int, report: ReadReport) -> bool:
        """Return whether to take document ``number``, after counting why not."""
        if not self._seen.add(document.digest, number):
            report.skip(Reason.DUPLICATE, document.origin)
            return False
        if self._near and not self._near.add(document.text, number):
            self._seen.mark_near(document.digest)
            report.skip(Reason.NEAR_DUPLICATE, document.origin)
            return False
        return True


def _state(report: ReadReport, place: Place, census: SplitCensus) -> dict[str, Any]:
    return {
        "report": report.state(),
        "place": asdict(place),
        "census": {
            "train_bytes": census.train_bytes,
            "validation_bytes": census.validation_bytes,
        },
    }
