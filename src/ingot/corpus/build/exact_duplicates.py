"""Which documents have been met before; there may be more of them than fit in memory."""

from __future__ import annotations

from ingot.corpus.build.build_state import Journal


class SeenDigests:
    """Remembers by digest where each document was first met.

    The table lives in a journal's cache and on disk, so memory stays constant.
    Documents are numbered in the order they are met.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        journal.run(
            "CREATE TABLE IF NOT EXISTS seen (digest BLOB PRIMARY KEY, number INTEGER NOT NULL, "
            "near INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
        )

    def add(self, digest: bytes, number: int) -> bool:
        """Remember document ``number``; return whether its digest is new.

        Raises:
            ResourceError: the disk that holds the table is full.
        """
        statement = "INSERT OR IGNORE INTO seen (digest, number) VALUES (?, ?)"
        return self._journal.run(statement, digest, number) == 1

    def mark_near(self, digest: bytes) -> None:
        """Note that a document was left out because it resembles an earlier one."""
        self._journal.run("UPDATE seen SET near = 1 WHERE digest = ?", digest)

    def find(self, digest: bytes) -> tuple[int, bool] | None:
        """Return the number of the first document with a digest and whether it is marked near."""
        rows = self._journal.rows("SELECT number, near FROM seen WHERE digest = ?", digest)
        return (rows[0][0], bool(rows[0][1])) if rows else None
