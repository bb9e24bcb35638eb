"""Bits per byte of general compressors on the held-out text, for comparison with a model."""

from __future__ import annotations

import lzma
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zstandard

from ingot.corpus.build.child import run_in_child
from ingot.corpus.store.manifest import BaselineRecord, CorpusManifest
from ingot.corpus.store.shards import Shard
from ingot.errors import CorpusError
from ingot.model.tokenizer import Tokenizer

MAX_TRAINING_BYTES = 64 << 20
MAX_VALIDATION_BYTES = 8 << 20

_AT_ONCE = 256 << 10
"""Bytes so few that compressing takes a moment, less than starting a process."""
_BLOCK = 1 << 20
_POLL_SECONDS = 0.25
_XZ_DICTIONARY = 64 << 20  # preset 9's own


def compressed_bits_per_byte(
    training: bytes, validation: bytes, *, progress: Callable[[int, int], None] | None = None
) -> BaselineRecord:
    """Measure the bits per byte of ``xz -9`` and ``zstd -19`` on a text after the training text.

    For xz this is what appending the held-out text to the training text adds
    to the compressed size; for zstd, the size with the training text as raw
    dictionary, as ``zstd --patch-from`` does. Windows cover all of it.

    Args:
        training: Training text; the last 64 MiB of it are used.
        validation: Held-out text; the first 8 MiB of it are used.
        progress: Called with bytes done and total bytes.

    Raises:
        CorpusError: there is no held-out text.
        ResourceError: memory ran out.
    """
    training, validation = training[-MAX_TRAINING_BYTES:], validation[:MAX_VALIDATION_BYTES]
    if not validation:
        raise CorpusError("there is no held-out text to compress", where="corpus")
    if len(training) + len(validation) <= _AT_ONCE:
        return _measure(training, validation, progress)
    # zstd reads its dictionary, and xz a block, in one call, which hears no signal.
    module, blobs = "ingot.corpus.build.compression_worker", [training, validation]
    return BaselineRecord(**run_in_child(module, blobs, "measuring the compression", progress))


def measured(blobs: list[bytes], progress: Callable[[int, int], None]) -> dict[str, float]:
    """Return the fields of the record; the work of the child process."""
    training, validation = blobs
    return _measure(training, validation, progress).model_dump()


def _measure(
    training: bytes, validation: bytes, progress: Callable[[int, int], None] | None
) -> BaselineRecord:
    counter = _ByteCounter(2 * len(training) + 2 * len(validation), progress)
    pool = ThreadPoolExecutor(max_workers=2)
    try:
        both = pool.submit(_xz_size, (training, validation), counter)
        alone = pool.submit(_xz_size, (training,), counter)
        patch = pool.submit(_zstd_size, training, validation, counter)
        counter.watch([both, alone, patch])
    finally:
        counter.stop.set()
        pool.shutdown(cancel_futures=True)
    bits = 8 / len(validation)
    return BaselineRecord(
        xz_9=(both.result() - alone.result()) * bits,
        zstd_19=patch.result() * bits,
        training_bytes=len(training),
        validation_bytes=len(validation),
    )


def stored_text(
    folder: Path, manifest: CorpusManifest, tokenizer: Tokenizer
) -> tuple[bytes, bytes]:
    """Return the training and held-out text that is compared, read back from the shards.

    The last training text and the first held-out text, up to the sizes that are compared.
    """
    training: list[bytes] = []
    size = 0
    for record in reversed(manifest.train.shards):
        ids = Shard(folder / record.file).ids
        for start in reversed(range(0, len(ids), _BLOCK)):
            training.append(_text(ids[start : start + _BLOCK], tokenizer))
            size += len(training[-1])
            if size >= MAX_TRAINING_BYTES:
                return b"".join(reversed(training)), _first_text(folder, manifest, tokenizer)
    return b"".join(reversed(training)), _first_text(folder, manifest, tokenizer)


def _first_text(folder: Path, manifest: CorpusManifest, tokenizer: Tokenizer) -> bytes:
    text = b""
    for record in manifest.validation.shards:
        ids = Shard(folder / record.file).ids
        for start in range(0, len(ids), _BLOCK):
            text += _text(ids[start : start + _BLOCK], tokenizer)
            if len(text) >= MAX_VALIDATION_BYTES:
                return text
    return text


def _text(ids: npt.NDArray[np.unsignedinteger], tokenizer: Tokenizer) -> bytes:
    return b"".join(map(tokenizer.token_bytes, ids.tolist()))


class _ByteCounter:
    """Progress of several threads, reported from the caller's thread."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.stop = threading.Event()
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Add bytes done; called by the threads."""
        with self._lock:
            self._done += count

    def watch(self, work: list[Future[int]]) -> None:
        """Report until all work is done, or raise the first error."""
        pending = set(work)
        while pending:
            finished, pending = wait(pending, timeout=_POLL_SECONDS)
            for future in finished:
                future.result()
            if self._progress:
                self._progress(self._done, self._total)


def _xz_size(texts: tuple[bytes, ...], counter: _ByteCounter) -> int:
    """Return the size of the texts, one after the other, as one ``.xz`` file."""
    dictionary = max(_XZ_DICTIONARY, sum(map(len, texts)))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": dictionary}]
    compressor = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=filters)
    size = 0
    for text in texts:
        for start in range(0, len(text), _BLOCK):
            if counter.stop.is_set():
                return 0
            block = text[start : start + _BLOCK]
            size += len(compressor.compress(block))
            counter.add(len(block))
    return size + len(compressor.flush())


def _zstd_size(training: bytes, validation: bytes, counter: _ByteCounter) -> int:
    """Return the size of ``validation`` with ``training`` as a raw dictionary."""
    if counter.stop.is_set():
        return 0
    window = max(27, (len(training) + len(validation)).bit_length())
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=window, enable_ldm=True
    )
    dictionary = zstandard.ZstdCompressionDict(training, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    compressor = zstandard.ZstdCompressor(compression_params=parameters, dict_data=dictionary)
    size = len(compressor.compress(validation))
    counter.add(len(validation))
    return size
