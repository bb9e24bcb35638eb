"""Members of zip and tar archives, one after another as streams; nothing is unpacked to disk."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, Self, TypeAlias

from ingot.corpus.reading.report import ReadReport, Reason
from ingot.errors import CorpusError

Choice: TypeAlias = Callable[[PurePosixPath], Reason | None]
"""Returns why a member is left out, by its name, or None."""

# A directory of zip is held in memory whole: some 300,000 members.
_MAX_DIRECTORY = 32 << 20
_MAX_TAR_HEADER = 1 << 20  # a long name or a set of attributes, held in memory
_ENCRYPTED = 0x1
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2})
# Whatever the two libraries raise on damaged archives.
_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, OverflowError, NotImplementedError, RuntimeError, LookupError, TypeError),
)


def zip_members(
    raw: BinaryIO, where: object, report: ReadReport, choose: Choice
) -> Iterator[tuple[PurePosixPath, BinaryIO]]:
    """Yield the chosen members of a zip archive, in its own order.

    Args:
        raw: The archive; must be seekable.
        where: Its name, for messages.
        report: Receives what is left out.
        choose: Chooses members by name.

    Raises:
        CorpusError: the archive is damaged.
    """
    try:
        archive = zipfile.ZipFile(_BoundedReads(raw, where))
        for info in archive.infolist():
            name = PurePosixPath(info.filename)
            if info.is_dir():
                continue
            reason = choose(name)
            if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
                reason = Reason.UNREADABLE
            if reason is not None:
                report.skip(reason, f"{where}/{name}")
                continue
            with archive.open(info) as member:
                yield name, _opened(member, where)
    except _DAMAGED as error:
        raise _damaged(where, error) from error


def tar_members(
    stream: BinaryIO, where: object, report: ReadReport, choose: Choice
) -> Iterator[tuple[PurePosixPath, BinaryIO]]:
    """Yield the chosen members of a tar archive, in its own order.

    Links and devices in it are not followed. A compressed archive comes decompressed, by a
    stream that refuses bombs.

    Raises:
        CorpusError: the archive is damaged.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_BoundedTarInfo) as archive:
            for info in archive:
                # The library keeps every member's header.
                archive.members.clear()  # type: ignore[attr-defined]
                if info.isdir():
                    continue
                name = PurePosixPath(info.name)
                reason = choose(name)
                if info.issym() or info.islnk():
                    reason = Reason.LINK
                elif not info.isreg() or info.issparse():
                    reason = Reason.UNREADABLE
                member = None if reason else archive.extractfile(info)
                if member is None:
                    report.skip(reason or Reason.UNREADABLE, f"{where}/{name}")
                    continue
                with member:
                    yield name, _opened(member, where)
    except (*_DAMAGED, RecursionError) as error:
        raise _damaged(where, error) from error


class _BoundedTarInfo(tarfile.TarInfo):
    """Header of a member; one whose name or attributes would fill the memory is refused."""

    _IN_MEMORY = frozenset(
        {
            *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
            *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
        }
    )

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """Return the next header; an archive that ends without its mark is damaged."""
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the mark of the end
            raise
        except tarfile.HeaderError as error:
            # After the first member the library takes these for the end.
            raise tarfile.ReadError(str(error)) from error

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        # The library's own hook for kinds of members; it has no other limit.
        if self.type in self._IN_MEMORY and self.size > _MAX_TAR_HEADER:
            raise tarfile.ReadError("a header is too long")
        if self.size < 0:
            raise tarfile.ReadError("a size is negative")
        return super()._proc_member(archive)  # type: ignore[misc, no-any-return]


class _BoundedReads(io.BufferedIOBase):
    """The archive's file, which refuses to read a directory that would fill the memory."""

    def __init__(self, raw: BinaryIO, where: object) -> None:
        self._raw, self._where = raw, where

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = _MAX_DIRECTORY + 1
        data = self._raw.read(size) if size <= _MAX_DIRECTORY + 1 else b""
        if size > _MAX_DIRECTORY + 1 or len(data) > _MAX_DIRECTORY:
            raise CorpusError(
                "holds too many members, or is damaged",
                where=self._where,
                fix="unpack it and give the folder",
            )
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


class _Member(io.RawIOBase):
    """A member as a stream, whose damage is an error that names the archive."""

    def __init__(self, member: BinaryIO, where: object) -> None:
        self._member, self._where = member, where

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        try:
            data = self._member.read(len(target))
        except _DAMAGED as error:
            raise _damaged(self._where, error) from error
        target[: len(data)] = data
        return len(data)


def _opened(member: object, where: object) -> BinaryIO:
    return io.BufferedReader(_Member(member, where), buffer_size=1 << 16)  # type: ignore[arg-type]


def _damaged(where: object, error: BaseException) -> CorpusError:
    reason = str(error) or type(error).__name__
    return CorpusError(
        f"cannot be read as an archive ({reason[:200]})",
        where=where,
        fix="fetch or make the archive again",
    )
