"""Documents of files and folders without repetitions, for callers that build no corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ingot.corpus.build.build_state import BuildState
from ingot.corpus.build.exact_dedup import ExactDedup
from ingot.corpus.config import CorpusConfig
from ingot.corpus.reading.documents import Document, ReadCursor, count, read_files
from ingot.corpus.reading.listing import find_files
from ingot.corpus.reading.report import ReadReport, Reason
from ingot.corpus.reading.selection import Selection


def iter_documents(
    paths: Sequence[Path],
    report: ReadReport,
    *,
    config: CorpusConfig | None = None,
) -> Iterator[Document]:
    """Yield the documents of files and folders, in an order that depends only on names.

    A plain text file is one document; past 4 MiB it is several, cut between
    lines. A line of JSONL or a row of Parquet is one. Empty documents, exact
    duplicates, binary files and bytes that are not UTF-8 are left out and
    counted in ``report``, which is up to date whenever a document is yielded.

    Args:
        paths: Files and folders to read, in this order.
        report: Receives the counts.
        config: Which files to read, their encoding, and the column that holds the text.

    Raises:
        CorpusError: a path is missing; a compressed file is truncated; a JSONL
            line or Parquet file is damaged or lacks the field.
        ResourceError: the disk is full.
    """
    # Listed lazily: the first documents of a large folder come at once.
    config = config or CorpusConfig()
    files = find_files(paths, report, Selection.of(config), encoding=config.encoding)
    cursor = ReadCursor()
    with BuildState() as state:
        dedup = ExactDedup(state)
        for document in read_files(files, report, cursor, config):
            if dedup.add(document.digest):
                count(document, report)
                yield document
            else:
                report.skip(Reason.DUPLICATE, document.origin)
