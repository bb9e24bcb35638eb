"""Memory that is filled once and then cannot be written, not even by native code."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os

import numpy as np

from ingot.errors import ResourceError, UsageError

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.mprotect.restype = ctypes.c_int


class SealedBuffer:
    """Anonymous memory for weights: a copy of a file's, or what they were converted to.

    Fill ``view``, call ``seal``, then use ``readonly``. Pages are large where the
    system has such, for weights are read from end to end. After ``seal`` they
    are ``PROT_READ``: a write through any pointer into them is a segmentation fault.

    Args:
        nbytes: Size in bytes, from 0 up.

    Raises:
        ResourceError: there is not enough memory.
    """

    def __init__(self, nbytes: int) -> None:
        self._nbytes = nbytes
        self._sealed = False
        try:
            # Python's own object is read-only from the start, so that NumPy refuses to make an
            # array over it writable; memory is filled through its address.
            self._memory = mmap.mmap(
                -1,
                max(nbytes, 1),  # an empty mapping does not exist
                flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
                prot=mmap.PROT_READ,
            )
            with contextlib.suppress(OSError, AttributeError):  # a system without large pages
                self._memory.madvise(mmap.MADV_HUGEPAGE)
            self._address = np.frombuffer(self._memory, dtype=np.uint8).ctypes.data
            self._protect(mmap.PROT_READ | mmap.PROT_WRITE)
        except (OSError, OverflowError) as error:
            raise ResourceError(
                f"no memory for {nbytes} bytes of weights ({error})",
                fix="free some memory or use a smaller model",
            ) from error

    @property
    def view(self) -> memoryview:
        """The bytes, to be filled. Only before ``seal``."""
        if self._sealed:
            raise UsageError("this memory is sealed and can only be read")
        filled = (ctypes.c_ubyte * self._nbytes).from_address(self._address)
        filled.memory = self._memory  # type: ignore[attr-defined]  # keeps it mapped
        return memoryview(filled).cast("B")

    def seal(self) -> None:
        """Make the memory read-only for good."""
        try:
            self._protect(mmap.PROT_READ)
        except OSError as error:
            raise ResourceError(f"cannot seal memory ({error.strerror})") from error
        self._sealed = True

    def discard(self, start: int, stop: int) -> None:
        """Free the whole pages between two offsets, which nobody may read any more."""
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        length = stop // mmap.PAGESIZE * mmap.PAGESIZE - first
        if length > 0:
            self._memory.madvise(mmap.MADV_DONTNEED, first, length)

    @property
    def readonly(self) -> memoryview:
        """The bytes, read-only. Only after ``seal``."""
        if not self._sealed:
            raise UsageError("this memory is not sealed yet")
        return memoryview(self._memory)[: self._nbytes]

    def _protect(self, rights: int) -> None:
        if _libc.mprotect(self._address, len(self._memory), rights):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
