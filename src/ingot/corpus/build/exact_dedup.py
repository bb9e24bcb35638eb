"""Exact deduplication by digest; the digests need not fit in memory."""

from __future__ import annotations

from ingot.corpus.build.build_state import BuildState

_FILTER_BITS = 27  # 16 MiB: among 5 million documents one in 180 is looked up needlessly
_PENDING = 4096


class ExactDedup:
    """Set of digests, in SQLite's cache and on disk, so that memory stays constant.

    A Bloom filter in memory tells of most new digests that they are new, and those are written
    many at once: a statement for each document would take longer than to hash its text.
    """

    def __init__(self, state: BuildState) -> None:
        self._state = state
        state.run("CREATE TABLE IF NOT EXISTS exact_dedup (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        self._filter = bytearray(1 << (_FILTER_BITS - 3))
        self._pending: set[bytes] = set()
        for (digest,) in state.each("SELECT digest FROM exact_dedup"):
            self._pass_filter(digest)

    def add(self, digest: bytes) -> bool:
        """Add a digest; return whether it is new.

        Raises:
            ResourceError: the disk that holds the table is full.
        """
        if digest in self._pending:
            return False
        query = "SELECT 1 FROM exact_dedup WHERE digest = ?"
        if self._pass_filter(digest) and self._state.rows(query, digest):
            return False
        self._pending.add(digest)
        if len(self._pending) >= _PENDING:
            self.flush()
        return True

    def flush(self) -> None:
        """Write the digests that are in memory alone, before the state is committed."""
        rows = [(digest,) for digest in sorted(self._pending)]
        self._state.run_many("INSERT INTO exact_dedup VALUES (?)", rows)
        self._pending.clear()

    def _pass_filter(self, digest: bytes) -> bool:
        """Enter a digest; return False if it is new, True if it may have been entered before."""
        number = int.from_bytes(digest[8:16], "little")
        first, second = number >> (64 - _FILTER_BITS), number & ((1 << _FILTER_BITS) - 1)
        bits = self._filter
        known = bits[first >> 3] >> (first & 7) & bits[second >> 3] >> (second & 7) & 1
        bits[first >> 3] |= 1 << (first & 7)
        bits[second >> 3] |= 1 << (second & 7)
        return bool(known)
