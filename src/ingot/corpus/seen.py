"""A set of digests that may be larger than memory."""

from __future__ import annotations

import sqlite3
from typing import Self

from ingot.errors import ResourceError


class SeenDigests:
    """Remembers which documents have been seen, in constant memory.

    SQLite's unnamed database lives in its cache and spills to a temporary
    file, deleted on closing, once the cache is full.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(
            "PRAGMA cache_size = -65536; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID; BEGIN"
        )

    def add(self, digest: bytes) -> bool:
        """Return whether ``digest`` is new, and remember it.

        Raises:
            ResourceError: the disk that holds temporary files is full.
        """
        try:
            cursor = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,))
        except sqlite3.OperationalError as error:
            raise ResourceError(
                f"the list of documents seen cannot grow ({error})",
                where="temporary folder",
                fix="free some space or set TMPDIR to another disk",
            ) from error
        return cursor.rowcount == 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
