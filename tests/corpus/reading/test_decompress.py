from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.corpus.reading.decompress import open_decompressed
from ingot.errors import CorpusError

Compress = Callable[[bytes], bytes]
KINDS = [
    ("a.bz2", bz2.compress),
    ("a.gz", gzip.compress),
    ("a.xz", lzma.compress),
    ("a.zst", zstandard.compress),
]


def decompress(name: str, data: bytes) -> bytes:
    return open_decompressed(io.BytesIO(data), Path(name)).read()


@pytest.mark.parametrize(("name", "compress"), KINDS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), sizes=st.lists(st.integers(0, 20_000), min_size=1, max_size=4))
def test_members_one_after_another_are_read_through(
    name: str, compress: Compress, seed: int, sizes: list[int]
) -> None:
    rng = random.Random(seed)
    parts = [rng.randbytes(size // 2) + bytes(size - size // 2) for size in sizes]
    assert decompress(name, b"".join(map(compress, parts))) == b"".join(parts)


@pytest.mark.parametrize(("name", "compress"), KINDS)
def test_every_truncation_is_refused_by_name(name: str, compress: Compress) -> None:
    data = compress(b"some text, some more text\n" * 50)
    for length in range(len(data)):
        with pytest.raises(CorpusError, match=f"{name}: is truncated; fetch or compress"):
            decompress(name, data[:length])


@pytest.mark.parametrize(("name", "compress"), KINDS)
def test_damage_is_refused_by_name(name: str, compress: Compress) -> None:
    with pytest.raises(CorpusError, match=f"{name}: cannot be decompressed"):
        decompress(name, b"this was never compressed")
    with pytest.raises(CorpusError, match=f"{name}: cannot be decompressed"):
        decompress(name, compress(b"text") + b"trailing rubbish")


@pytest.mark.parametrize(("name", "compress"), KINDS)
def test_bombs_are_refused_by_name(name: str, compress: Compress) -> None:
    bomb = compress(bytes(80 << 20))
    stream = open_decompressed(io.BytesIO(bomb), Path(name))
    with pytest.raises(CorpusError, match=f"{name}: decompresses to more than 250 times"):
        shutil.copyfileobj(stream, io.BytesIO())


def test_a_huge_zstd_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = compressor.compress(b"text") + compressor.flush()
    with pytest.raises(CorpusError, match="too much memory"):
        decompress("a.zst", data)


def test_an_xz_dictionary_that_needs_much_memory_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 1 << 30}]
    data = lzma.compress(b"text", lzma.FORMAT_XZ, filters=filters)
    with pytest.raises(CorpusError, match=r"a\.xz: cannot be decompressed \(Memory usage limit"):
        decompress("a.xz", data)
