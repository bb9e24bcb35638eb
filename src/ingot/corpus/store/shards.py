"""Token shards: files of token ids with a checked header, and their concatenation as one stream.

Layout of a ``.tokens`` file, little-endian: a header of 64 bytes (magic
``INGOTTOK``, version u16, dtype code u16, reserved u32, token count u64,
SHA-256 of the payload, and the first 8 bytes of the SHA-256 of all that),
then the token ids. Opening checks the header; ``verify`` checks the payload.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ingot.errors import CorpusError
from ingot.files import open_regular

REBUILD = "build the corpus again"

SHARD_TOKENS = 64 << 20
HEADER_BYTES = 64

_MAGIC = b"INGOTTOK"
_VERSION = 2
_HEADER = struct.Struct("<8sHHIQ32s")
_CHECK_BYTES = HEADER_BYTES - _HEADER.size
_BLOCK = 1 << 20
_DTYPES: dict[int, np.dtype[np.unsignedinteger]] = {
    1: np.dtype("<u2"),
    2: np.dtype("<u4"),
}

TokenIds = npt.NDArray[np.int64]


def dtype_code(vocab_size: int) -> int:
    """Return the code of the smallest stored type that holds every id of the vocabulary."""
    return 1 if vocab_size <= 1 << 16 else 2


class ShardWriter:
    """Writer of one shard; the header is written last, so an unfinished file is not a shard.

    Args:
        path: The file to create.
        vocab_size: Ids must be below it; it also decides the stored type.
        keep: Tokens to keep of an unfinished shard at ``path``; the rest is cut off.

    Raises:
        CorpusError: ``path`` holds fewer tokens than ``keep``.
    """

    def __init__(self, path: Path, vocab_size: int, *, keep: int = 0) -> None:
        self.path = path
        self.count = keep
        self._code = dtype_code(vocab_size)
        self._vocab_size = vocab_size
        self._sha256 = hashlib.sha256()
        if keep:
            self._file: BinaryIO = path.open("r+b")
            self._resume(keep * _DTYPES[self._code].itemsize)
        else:
            self._file = path.open("wb")
            self._file.write(bytes(HEADER_BYTES))

    def append(self, ids: npt.NDArray[np.integer]) -> None:
        """Add token ids.

        Raises:
            CorpusError: an id is outside the vocabulary.
        """
        _check_ids(ids, self._vocab_size, self.path)
        data = ids.astype(_DTYPES[self._code], copy=False).data
        self._sha256.update(data)
        self._file.write(data)
        self.count += len(ids)

    def sync(self) -> None:
        """Make the appended tokens durable without finishing the shard."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self) -> str:
        """Write the header, make the file durable, close it; return the payload's SHA-256."""
        digest = self._sha256.digest()
        header = _HEADER.pack(_MAGIC, _VERSION, self._code, 0, self.count, digest)
        self._file.seek(0)
        self._file.write(header + _check(header))
        self.sync()
        self._file.close()
        return digest.hex()

    def close(self) -> None:
        """Close the file without finishing it."""
        with suppress(OSError):  # closing flushes, and the disk may be full
            self._file.close()

    def _resume(self, size: int) -> None:
        """Hash the payload to keep and cut off the rest."""
        self._file.seek(HEADER_BYTES)
        left = size
        while left and (block := self._file.read(min(left, _BLOCK))):
            self._sha256.update(block)
            left -= len(block)
        if left:
            self._file.close()
            raise CorpusError("is shorter than the build state says", where=self.path, fix=REBUILD)
        self._file.truncate(HEADER_BYTES + size)
        self._file.seek(0)
        self._file.write(bytes(HEADER_BYTES))  # it may have been finished after the last checkpoint
        self._file.seek(0, os.SEEK_END)


class Shard:
    """One shard, mapped read-only.

    Attributes:
        path: The file.
        ids: Its token ids, uint16 or uint32, not writable.
        sha256: Digest of the payload as the header states it; ``verify`` checks it.
    """

    def __init__(self, path: Path) -> None:
        """Map ``path`` and check its header and exact size.

        Raises:
            CorpusError: the file is missing, truncated, or not a shard of this version.
        """
        self.path = path
        with open_regular(path, CorpusError, fix=REBUILD) as file:
            size = file.seek(0, os.SEEK_END)
            if size < HEADER_BYTES:
                raise CorpusError(
                    f"is truncated ({size} bytes, too short for a header)", where=path, fix=REBUILD
                )
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        magic, version, code, _, count, digest = _HEADER.unpack_from(self._map)
        if magic != _MAGIC:
            raise CorpusError("is not a token shard", where=path, fix=REBUILD)
        if version != _VERSION:
            raise CorpusError(
                f"has format version {version}, this Ingot reads {_VERSION}",
                where=path,
                fix=REBUILD,
            )
        if bytes(self._map[_HEADER.size : HEADER_BYTES]) != _check(self._map[: _HEADER.size]):
            raise CorpusError("has a header that is damaged", where=path, fix=REBUILD)
        if code not in _DTYPES:
            raise CorpusError(f"has an unknown token type {code}", where=path, fix=REBUILD)
        expected = HEADER_BYTES + count * _DTYPES[code].itemsize
        if size != expected:
            state = "truncated" if size < expected else "too long"
            raise CorpusError(
                f"is {state} ({size} bytes, its header says {expected})", where=path, fix=REBUILD
            )
        self.sha256: str = digest.hex()
        self.ids = np.frombuffer(self._map, _DTYPES[code], count, HEADER_BYTES)

    def verify(self) -> None:
        """Hash the payload.

        Raises:
            CorpusError: it does not match the header.
        """
        if hashlib.sha256(self.ids.data).hexdigest() != self.sha256:
            raise CorpusError("does not match its checksum", where=self.path, fix=REBUILD)


@dataclass(frozen=True, slots=True)
class Part:
    """Range of a stream that comes from one source.

    Attributes:
        name: The source.
        weight: Weight in training; only the ratio to the other weights matters.
        start: Offset of its first token in the stream.
        tokens: How many tokens it has.
    """

    name: str
    weight: float
    start: int
    tokens: int


class TokenStore:
    """Shards read as one stream of token ids.

    Args:
        shards: The pieces of the stream, in order.
        vocab_size: Every id must be below it; checked whenever ids are read.
        parts: The sources to mix by weight, if any; together they are the whole stream.
    """

    def __init__(
        self, shards: Sequence[Shard], vocab_size: int, parts: Sequence[Part] = ()
    ) -> None:
        self.shards = tuple(shards)
        self.vocab_size = vocab_size
        self.parts = tuple(parts)
        self._starts = [0]
        for shard in self.shards:
            self._starts.append(self._starts[-1] + len(shard.ids))

    def __len__(self) -> int:
        return self._starts[-1]

    def read(self, start: int, count: int) -> TokenIds:
        """Return ``count`` token ids from position ``start``, int64, a copy.

        Raises:
            IndexError: the range does not lie inside the stream.
            CorpusError: an id is not in the vocabulary, so the shard is damaged.
        """
        if start < 0 or count < 0 or start + count > len(self):
            raise IndexError(f"tokens {start} to {start + count} of a stream of {len(self)}")
        ids = np.empty(count, np.int64)
        index = bisect_right(self._starts, start) - 1
        done = 0
        while done < count:
            shard = self.shards[index]
            part = shard.ids[start + done - self._starts[index] :][: count - done]
            _check_ids(part, self.vocab_size, shard.path)
            ids[done : done + len(part)] = part
            done += len(part)
            index += 1
        return ids

    def verify(self) -> None:
        """Hash every shard.

        Raises:
            CorpusError: one does not match its checksum; it is named.
        """
        for shard in self.shards:
            shard.verify()


def _check(header: bytes) -> bytes:
    """Return the checksum that follows the header's fields."""
    return hashlib.sha256(header).digest()[:_CHECK_BYTES]


def _check_ids(ids: npt.NDArray[np.integer], vocab_size: int, where: Path) -> None:
    signed = ids.dtype.kind == "i"
    if ids.size and (ids.max() >= vocab_size or (signed and ids.min() < 0)):
        raise CorpusError(
            f"holds a token id outside the vocabulary of {vocab_size}", where=where, fix=REBUILD
        )
