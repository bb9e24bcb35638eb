"""Exact deduplication by digest; the digests need not fit in memory."""

from __future__ import annotations

from ingot.corpus.build.build_state import BuildState


class ExactDedup:
    """Table of the first document with each digest.

    The table is kept in SQLite's cache and on disk, so memory stays constant.
    Documents are numbered in reading order.
    """

    def __init__(self, state: BuildState) -> None:
        self._state = state
        state.run(
            "CREATE TABLE IF NOT EXISTS exact_dedup (digest BLOB PRIMARY KEY, "
            "number INTEGER NOT NULL, near_duplicate INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
        )

    def add(self, digest: bytes, number: int) -> bool:
        """Add document ``number``; return whether its digest is new.

        Raises:
            ResourceError: the disk that holds the table is full.
        """
        statement = "INSERT OR IGNORE INTO exact_dedup (digest, number) VALUES (?, ?)"
        return self._state.run(statement, digest, number) == 1

    def mark_near_duplicate(self, digest: bytes) -> None:
        """Mark a document as left out because it is similar to an earlier one."""
        self._state.run("UPDATE exact_dedup SET near_duplicate = 1 WHERE digest = ?", digest)

    def find(self, digest: bytes) -> tuple[int, bool] | None:
        """Return the first document with a digest and whether it is a near-duplicate."""
        rows = self._state.rows(
            "SELECT number, near_duplicate FROM exact_dedup WHERE digest = ?", digest
        )
        return (rows[0][0], bool(rows[0][1])) if rows else None
