from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingot.corpus import Shard, TokenStore
from ingot.corpus.store.shards import HEADER_BYTES, ShardWriter
from ingot.errors import CorpusError, ResourceError
from ingot.files import full_disk_named

MakeStore = Callable[..., TokenStore]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parts=st.lists(st.lists(st.integers(0, 999), min_size=1, max_size=9), min_size=1, max_size=5),
    data=st.data(),
)
def test_reads_cross_shards_as_if_there_were_none(
    make_store: MakeStore, parts: list[list[int]], data: st.DataObject
) -> None:
    store = make_store(parts)
    flat = [token for part in parts for token in part]
    assert len(store) == len(flat)
    start = data.draw(st.integers(0, len(flat)))
    count = data.draw(st.integers(0, len(flat) - start))
    ids = store.read(start, count)
    assert ids.dtype == np.int64
    assert ids.tolist() == flat[start : start + count]


@pytest.mark.parametrize(("start", "count"), [(-1, 2), (0, 7), (6, 1), (7, 0), (2, -1)])
def test_reads_outside_the_stream_are_refused(
    make_store: MakeStore, start: int, count: int
) -> None:
    with pytest.raises(IndexError, match="of a stream of 6"):
        make_store([[1, 2, 3], [4, 5, 6]]).read(start, count)


@pytest.mark.parametrize(("vocab_size", "bytes_each"), [(65_536, 2), (65_537, 4)])
def test_the_smallest_type_that_fits_is_stored(
    make_store: MakeStore, vocab_size: int, bytes_each: int
) -> None:
    store = make_store([[0, vocab_size - 1]], vocab_size)
    assert store.read(0, 2).tolist() == [0, vocab_size - 1]
    path = store.shards[0].path
    assert path.stat().st_size == HEADER_BYTES + 2 * bytes_each
    assert (
        path.read_bytes()[HEADER_BYTES:]
        == np.array([0, vocab_size - 1], f"<u{bytes_each}").tobytes()
    )


@pytest.mark.parametrize("bad", [-1, 300, 1 << 40])
def test_ids_outside_the_vocabulary_are_never_written(tmp_path: Path, bad: int) -> None:
    writer = ShardWriter(tmp_path / "a.tokens", 300)
    with pytest.raises(CorpusError, match="outside the vocabulary of 300"):
        writer.append(np.array([1, bad], np.int64))
    writer.close()


def test_ids_outside_the_vocabulary_are_never_returned(make_store: MakeStore) -> None:
    shard = make_store([[1, 2, 500, 3]]).shards[0]
    store = TokenStore([shard], 500)
    assert store.read(0, 2).tolist() == [1, 2]
    with pytest.raises(CorpusError, match=r"train-00000\.tokens: holds a token id outside"):
        store.read(1, 2)


def test_the_map_cannot_be_written(make_store: MakeStore) -> None:
    with pytest.raises(ValueError, match="read-only"):
        make_store([[1, 2]]).shards[0].ids[0] = 5


@pytest.mark.parametrize("kept", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 5])
def test_truncated_shards_are_refused_by_name(make_store: MakeStore, kept: int) -> None:
    path = make_store([[1, 2, 3]]).shards[0].path
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CorpusError, match=r"00000\.tokens: is truncated .*build the corpus again"):
        Shard(path)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"X", "is not a token shard"),
        (8, b"\x03", "format version 3, this Ingot reads 2"),
        (10, b"\x07", "has a header that is damaged"),
        (16, b"\x02", "has a header that is damaged"),
        (63, b"\x00", "has a header that is damaged"),
    ],
)
def test_damaged_headers_are_refused(
    make_store: MakeStore, at: int, value: bytes, message: str
) -> None:
    path = make_store([[1, 2, 3]]).shards[0].path
    data = bytearray(path.read_bytes())
    data[at : at + 1] = value
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        Shard(path)


def test_any_flipped_byte_is_found_and_names_the_shard(make_store: MakeStore) -> None:
    path = make_store([list(range(40))]).shards[0].path
    whole = path.read_bytes()
    for index in range(len(whole)):
        data = bytearray(whole)
        data[index] ^= 0x10
        path.write_bytes(data)
        if index < HEADER_BYTES:
            with pytest.raises(CorpusError, match=r"train-00000\.tokens: "):
                Shard(path)
        else:
            with pytest.raises(CorpusError, match=r"train-00000\.tokens: does not match"):
                Shard(path).verify()


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"gone\.tokens: cannot be read \(No such file"):
        Shard(tmp_path / "gone.tokens")


def test_an_unfinished_shard_is_no_shard(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / "a.tokens", 300)
    writer.append(np.arange(10))
    writer.close()
    with pytest.raises(CorpusError, match="is not a token shard"):
        Shard(tmp_path / "a.tokens")


def test_verify_finds_one_flipped_bit(make_store: MakeStore) -> None:
    store = make_store([[1, 2, 3], [4, 5, 6]])
    store.verify()
    path = store.shards[1].path
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 2] ^= 1
    path.write_bytes(data)
    damaged = TokenStore([store.shards[0], Shard(path)], 1000)
    with pytest.raises(CorpusError, match=r"train-00001\.tokens: does not match its checksum"):
        damaged.verify()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tokens"
    path.symlink_to("/dev/full")
    writer = ShardWriter(path, 300)
    with pytest.raises(ResourceError, match=r"a\.tokens: the disk is full"), full_disk_named(path):
        writer.append(np.zeros(100_000, np.int64))
    writer.close()
