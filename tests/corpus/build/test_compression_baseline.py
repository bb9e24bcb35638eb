from __future__ import annotations

import lzma
import random

import pytest

from ingot.corpus import compressed_bits_per_byte
from ingot.errors import CorpusError


def noise(seed: int, count: int) -> bytes:
    return random.Random(seed).randbytes(count)


def test_noise_costs_eight_bits_and_a_copy_of_the_training_text_almost_none() -> None:
    training = noise(1, 200_000)
    new = compressed_bits_per_byte(training, noise(2, 20_000))
    assert 7.9 < new.xz_9 < 8.1
    assert 7.9 < new.zstd_19 < 8.1
    seen = compressed_bits_per_byte(training, training[50_000:70_000])
    assert seen.xz_9 < 0.2
    assert seen.zstd_19 < 0.05
    assert (seen.training_bytes, seen.validation_bytes) == (200_000, 20_000)


def test_xz_is_what_the_tool_would_need() -> None:
    training, validation = noise(1, 1000).hex().encode() * 3, noise(2, 500).hex().encode()
    both = len(lzma.compress(training + validation, preset=9))
    alone = len(lzma.compress(training, preset=9))
    expected = 8 * (both - alone) / len(validation)
    assert compressed_bits_per_byte(training, validation).xz_9 == pytest.approx(expected)


def test_only_the_latest_training_text_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingot.corpus.build.compression_baseline.MAX_TRAINING_BYTES", 10_000)
    monkeypatch.setattr("ingot.corpus.build.compression_baseline.MAX_VALIDATION_BYTES", 5_000)
    training = noise(1, 30_000)
    recent = compressed_bits_per_byte(training, training[-5_000:] + noise(3, 100))
    assert recent.xz_9 < 0.5
    assert (recent.training_bytes, recent.validation_bytes) == (10_000, 5_000)
    assert compressed_bits_per_byte(training, training[:5_000]).xz_9 > 7.9


def test_progress_reaches_the_total() -> None:
    events: list[tuple[int, int]] = []
    compressed_bits_per_byte(
        noise(1, 3000), noise(2, 1000), progress=lambda done, total: events.append((done, total))
    )
    assert events[-1][0] == events[-1][1]


def test_a_caller_that_stops_is_not_kept_waiting() -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compressed_bits_per_byte(noise(1, 3_000_000), noise(2, 1000), progress=stop)


def test_no_held_out_text_is_an_error() -> None:
    with pytest.raises(CorpusError, match="no held-out text"):
        compressed_bits_per_byte(b"text", b"")
