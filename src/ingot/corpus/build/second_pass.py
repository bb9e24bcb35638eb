"""Second pass of a build: read the documents again, tokenize them and write the shards."""

from __future__ import annotations

from dataclasses import asdict

from ingot.corpus.build.exact_dedup import ExactDedup
from ingot.corpus.build.first_pass import FirstPassResult, Work, names
from ingot.corpus.build.split import split_document
from ingot.corpus.build.writer import CorpusWriter, SourceTotals
from ingot.corpus.reading.documents import Document, ReadCursor, count
from ingot.corpus.reading.report import ReadReport, Reason
from ingot.corpus.store.manifest import SplitRecord
from ingot.errors import CorpusError
from ingot.model.tokenizer import Tokenizer


def run_second_pass(
    work: Work, tokenizer: Tokenizer, first: FirstPassResult
) -> tuple[tuple[SplitRecord, SourceTotals], tuple[SplitRecord, SourceTotals]]:
    """Write the shards of both sides; resumes from the last checkpoint of the build state.

    Returns:
        For training and for validation, the record of the shards and what each source contributed.

    Raises:
        CorpusError: the sources differ from what the first pass read, or a side is empty.
    """
    config = work.config
    state = work.state.get("second_pass") or {}
    report, cursor = ReadReport(), ReadCursor(**state.get("cursor", {}))
    dedup = ExactDedup(work.state)
    with CorpusWriter(work.staging.result, tokenizer, resume=state.get("writer")) as writer:
        for document in work.read(report, cursor, state.get("report")):
            if _was_kept(document, cursor.number, dedup, report, work):
                count(document, report)
                source = document.source if config.mix else 0
                for side, text in split_document(document, first.mode, config.validation_fraction):
                    size = document.size if text is document.text else len(text.encode())
                    writer.add(side, text, size, source)
            work.progress.report("tokenize", report.text_bytes, first.report.text_bytes)
            if work.due(document.size):
                tokenized = f"{report.text_bytes / 1e6:,.1f} MB of tokenized text"
                work.checkpoint(
                    "second_pass",
                    {"report": report.state(), "cursor": asdict(cursor), "writer": writer.sync()},
                    f"first pass, tokenizer and {tokenized}",
                )
        if report != first.report:
            raise changed(work)
        return writer.finish()


def changed(work: Work) -> CorpusError:
    """Return the error for sources that changed during the build."""
    return CorpusError(
        "changed while being read",
        where=names(work.inputs),
        fix="run the same command again when no process writes to them",
    )


def _was_kept(
    document: Document, number: int, dedup: ExactDedup, report: ReadReport, work: Work
) -> bool:
    """Repeat the decision of the first pass about a document, from its table."""
    found = dedup.find(document.digest)
    if found is None:
        raise changed(work)
    first_number, near = found
    if first_number != number:
        report.skip(Reason.DUPLICATE, document.origin)
    elif near:
        report.skip(Reason.NEAR_DUPLICATE, document.origin)
    else:
        return True
    return False
