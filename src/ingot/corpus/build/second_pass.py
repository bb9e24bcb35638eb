"""The second pass: read everything again, tokenize it and write the shards."""

from __future__ import annotations

from dataclasses import asdict

from ingot.corpus.build.exact_duplicates import SeenDigests
from ingot.corpus.build.first_pass import Survey, Work, names
from ingot.corpus.build.split import split_document
from ingot.corpus.build.writer import CorpusWriter, Tallies
from ingot.corpus.reading.documents import Document, Place, count
from ingot.corpus.reading.report import ReadReport, Reason
from ingot.corpus.store.manifest import SplitRecord
from ingot.errors import CorpusError
from ingot.model.tokenizer import Tokenizer


def pack(
    work: Work, tokenizer: Tokenizer, survey: Survey
) -> tuple[tuple[SplitRecord, Tallies], tuple[SplitRecord, Tallies]]:
    """Write the shards of both sides, from the last checkpoint of the journal on.

    Returns:
        For training and for validation, the record of the shards and what each source gave.

    Raises:
        CorpusError: the sources are not what the survey found, or a side is empty.
    """
    config = work.config
    state = work.journal.get("pack") or {}
    report, place = ReadReport(), Place(**state.get("place", {}))
    seen = SeenDigests(work.journal)
    with CorpusWriter(work.place.result, tokenizer, resume=state.get("writer")) as writer:
        for document in work.read(report, place, state.get("report")):
            if _was_taken(document, place.number, seen, report, work):
                count(document, report)
                source = document.source if config.mix else 0
                for side, text in split_document(document, survey.mode, config.validation_fraction):
                    size = document.size if text is document.text else len(text.encode())
                    writer.add(side, text, size, source)
            work.teller.tell("tokenize", report.text_bytes, survey.report.text_bytes)
            if work.due(document.size):
                work.checkpoint(
                    "pack",
                    {"report": report.state(), "place": asdict(place), "writer": writer.sync()},
                )
        if report != survey.report:
            raise changed(work)
        return writer.finish()


def changed(work: Work) -> CorpusError:
    """Return the error that says that the sources are not what they were."""
    return CorpusError(
        "changed while being read",
        where=names(work.inputs),
        fix="run the same command again when nothing writes there",
    )


def _was_taken(
    document: Document, number: int, seen: SeenDigests, report: ReadReport, work: Work
) -> bool:
    """Decide about a document as the survey did, from what it wrote down."""
    found = seen.find(document.digest)
    if found is None:
        raise changed(work)
    first, near = found
    if first != number:
        report.skip(Reason.DUPLICATE, document.origin)
    elif near:
        report.skip(Reason.NEAR_DUPLICATE, document.origin)
    else:
        return True
    return False
