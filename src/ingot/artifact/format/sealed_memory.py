"""Memory that is filled once and then cannot be written, not even by native code."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os

from ingot.errors import ResourceError, UsageError

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.mprotect.restype = ctypes.c_int


class SealedBuffer:
    """Anonymous memory for weights that must be converted before use.

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
            self._memory = mmap.mmap(
                -1,
                max(nbytes, 1),  # an empty mapping does not exist
                flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
            )
            with contextlib.suppress(OSError, AttributeError):  # a system without large pages
                self._memory.madvise(mmap.MADV_HUGEPAGE)
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
        return memoryview(self._memory)[: self._nbytes]

    def seal(self) -> None:
        """Make the memory read-only for good."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        if _libc.mprotect(address, len(self._memory), mmap.PROT_READ):
            raise ResourceError(f"cannot seal memory ({os.strerror(ctypes.get_errno())})")
        self._sealed = True

    @property
    def readonly(self) -> memoryview:
        """The bytes, read-only. Only after ``seal``."""
        if not self._sealed:
            raise UsageError("this memory is not sealed yet")
        return memoryview(self._memory)[: self._nbytes].toreadonly()
