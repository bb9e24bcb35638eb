"""State of a build in one SQLite file, so that all of it is from the same moment."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from ingot.errors import CorpusError, ResourceError

_CACHE_KIB = 64 << 10


class BuildState:
    """Named values and tables of other modules, all changed together by ``commit``.

    Changes that were not committed when the process died are rolled back.

    Args:
        path: The file; None for a temporary file that is removed on closing.

    Raises:
        CorpusError: the file is not a build state, or is damaged.
        ResourceError: the disk is full; all methods raise it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._where: object = path or "temporary folder"
        self._fix = (
            f"free some space {'and run again' if path else 'or set TMPDIR to another disk'}"
        )
        self._database = sqlite3.connect(path or "", isolation_level=None, check_same_thread=True)
        # SQLite's rollback journal is needed only where the last commit must survive a crash.
        mode = "TRUNCATE" if path else "OFF"
        with self.errors():
            self._database.executescript(
                f"PRAGMA cache_size = -{_CACHE_KIB}; PRAGMA locking_mode = EXCLUSIVE;"
                f"PRAGMA journal_mode = {mode}; PRAGMA synchronous = {'NORMAL' if path else 'OFF'};"
                "CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT); BEGIN"
            )

    def get(self, name: str) -> Any:
        """Return the JSON value kept under ``name``, or None."""
        rows = self.rows("SELECT value FROM state WHERE name = ?", name)
        return json.loads(rows[0][0]) if rows else None

    def put(self, name: str, value: Any) -> None:
        """Keep a JSON value under ``name``."""
        self.run("INSERT OR REPLACE INTO state VALUES (?, ?)", name, json.dumps(value))

    def run(self, statement: str, *values: object) -> int:
        """Run one statement; return how many rows it changed."""
        with self.errors():
            return self._database.execute(statement, values).rowcount

    def run_many(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Run one statement for each row of values."""
        with self.errors():
            self._database.executemany(statement, rows)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows that a query finds."""
        with self.errors():
            return self._database.execute(query, values).fetchall()

    def each(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that a query finds; nothing else may be done with the state meanwhile."""
        with self.errors():
            yield from self._database.execute(query)

    def commit(self) -> None:
        """Make everything so far durable at once."""
        with self.errors():
            self._database.execute("COMMIT")
            self._database.execute("BEGIN")

    def close(self) -> None:
        """Close the file; what was not committed is lost."""
        self._database.close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translate SQLite's errors into errors that say what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise ResourceError(
                f"the list of documents seen cannot grow ({error})",
                where=self._where,
                fix=self._fix,
            ) from error
        except sqlite3.DatabaseError as error:
            raise CorpusError(
                f"is damaged ({error})", where=self._where, fix="run the same command again"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
