from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.artifact import SealedBuffer
from ingot.errors import ResourceError, UsageError


@pytest.mark.parametrize("nbytes", [0, 4, 4096, 100_000])
def test_keeps_what_was_put_in(nbytes: int) -> None:
    buffer = SealedBuffer(nbytes)
    content = bytes(i % 251 for i in range(nbytes))
    buffer.view[:] = content
    with pytest.raises(UsageError, match="not sealed"):
        _ = buffer.readonly
    buffer.seal()
    assert bytes(buffer.readonly) == content
    assert buffer.readonly.readonly
    with pytest.raises(UsageError, match="sealed"):
        _ = buffer.view


def test_arrays_over_it_outlive_it() -> None:
    buffer = SealedBuffer(8)
    np.frombuffer(buffer.view, np.float32)[:] = 1.5
    buffer.seal()
    array = np.frombuffer(buffer.readonly, np.float32)
    del buffer
    assert array.tolist() == [1.5, 1.5]
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        array.flags.writeable = True


def test_a_view_to_fill_keeps_the_memory() -> None:
    values = np.frombuffer(SealedBuffer(1 << 20).view, np.uint8)
    values[:] = 3  # would end the process if the memory were gone
    assert values.sum() == 3 << 20


def test_discarded_pages_are_freed_and_the_rest_stays() -> None:
    buffer = SealedBuffer(64 << 20)
    np.frombuffer(buffer.view, np.uint8)[:] = 1
    buffer.seal()
    before = resident_bytes()
    buffer.discard(100, 64 << 20)
    assert before - resident_bytes() > 60 << 20
    assert bytes(buffer.readonly[:101]) == b"\x01" * 101
    buffer.discard(0, 100)  # less than a page: nothing to free
    assert buffer.readonly[99] == 1


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def test_too_much_is_an_error_of_resources() -> None:
    with pytest.raises(ResourceError, match="no memory"):
        SealedBuffer(1 << 60)


@pytest.mark.parametrize("sealed", [False, True])
def test_a_write_through_a_pointer_is_fatal_once_sealed(
    sealed: bool, run_python: Callable[..., Any]
) -> None:
    script = (
        "import ctypes, sys\nimport numpy as np\nfrom ingot.artifact import SealedBuffer\n"
        "buffer = SealedBuffer(10_000)\nview = np.frombuffer(buffer.view, np.uint8)\n"
        "view[:] = 7\naddress = view.ctypes.data\n"
        "if sys.argv[1] == 'True': buffer.seal()\n"
        "print('reached', ctypes.string_at(address + 9_996, 4).hex(), flush=True)\n"
        "ctypes.memset(address + 9_996, 1, 4)\nprint('written')\n"
    )
    ended = run_python(script, sealed)
    if sealed:
        assert (ended.stdout, ended.returncode) == ("reached 07070707\n", -11)
    else:
        assert (ended.stdout, ended.returncode) == ("reached 07070707\nwritten\n", 0)
