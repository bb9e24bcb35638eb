"""Second pass of a build: read the documents again, tokenize them and write the shards."""

from __future__ import annotations

from dataclasses import asdict

from ingot.corpus.build.first_pass import FirstPassResult, Work, add_checksum, names
from ingot.corpus.build.left_out import LeftOut
from ingot.corpus.build.split import split_document
from ingot.corpus.build.writer import CorpusWriter, SourceTotals
from ingot.corpus.reading.documents import ReadCursor, count
from ingot.corpus.reading.report import ReadReport
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
    checksum: int = state.get("checksum", 0)
    left_out = LeftOut(work.state, after=cursor.number)
    with CorpusWriter(work.staging.result, tokenizer, resume=state.get("writer")) as writer:
        for document in work.read(report, cursor, state.get("report")):
            checksum = add_checksum(checksum, document)
            if reason := left_out.reason(cursor.number):
                report.skip(reason, document.origin)
            else:
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
                    {
                        "report": report.state(),
                        "cursor": asdict(cursor),
                        "checksum": checksum,
                        "writer": writer.sync(),
                    },
                    f"first pass, tokenizer and {tokenized}",
                )
        if report != first.report or checksum != first.checksum:
            raise changed(work)
        return writer.finish()


def changed(work: Work) -> CorpusError:
    """Return the error for sources that changed during the build."""
    return CorpusError(
        "changed while being read",
        where=names(work.inputs),
        fix="run the same command again when no process writes to them",
    )
