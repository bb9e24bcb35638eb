from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from benchmarks import corpus as benchmark
from benchmarks.report import Report
from ingot.corpus import ReadReport, iter_documents

TINY = benchmark.Sizes(rate_bytes=200_000, repeats=2, memory_bytes=300_000, steps=4)


@pytest.fixture
def report() -> Report:
    return Report("corpus", settings={})


def test_the_text_is_the_same_each_time_and_has_the_size_asked_for(tmp_path: Path) -> None:
    benchmark.write_text(tmp_path / "text", 500_000, seed=3)
    read = ReadReport()
    texts = [document.text for document in iter_documents([tmp_path / "text"], read)]
    assert not read.skipped
    assert 450_000 < read.source_bytes < 520_000
    assert texts == list(islice(benchmark.make_documents(3), len(texts)))
    assert texts != list(islice(benchmark.make_documents(4), len(texts)))
    words = " ".join(texts).split()
    assert 0.005 < len(set(words)) / len(words) < 0.5  # words repeat, as they do in any language


@pytest.mark.parametrize(("rate", "met"), [(61.0, True), (59.0, False)])
def test_ratios_are_of_what_was_measured_in_turn_and_the_build_has_a_bar(
    report: Report, rate: float, met: bool
) -> None:
    raw = [4.0, 1.0, 2.0]
    sides = {"fast": 1.5, "core": 20, "build": rate / 2}
    figures = {name: [factor * each for each in raw] for name, factor in sides.items()}
    benchmark.add_rates(report, figures | {"raw": raw}, [0.5 * each for each in raw])
    _, fast, core, second_pass, build = report.rows
    assert fast.ratio == pytest.approx(1.5)
    assert core.ratio == pytest.approx(20)
    assert second_pass.ratio == pytest.approx(0.5)
    assert (second_pass.met, build.met) == (None, met)
    assert build.value == pytest.approx(rate)


def test_every_figure_is_measured_and_bars_are_decided(report: Report, tmp_path: Path) -> None:
    benchmark.measure_rate(report, tmp_path / "rate", TINY)
    benchmark.measure_training(report, tmp_path / "rate" / "text", TINY)
    benchmark.measure_waiting(report, tmp_path / "rate" / "0", TINY)
    benchmark.measure_memory(report, tmp_path / "memory", TINY, quick=True)
    memory = next(row for row in report.rows if "memory" in row.name)
    assert all(row.value is not None and row.value >= 0 for row in report.rows)
    assert [row.name for row in report.rows if row.met is not None] == [
        "whole build, both passes",
        "training a tokenizer of 4096 tokens on 0 MB",
        "share of a step spent waiting for its batch",
        memory.name,
        "that build, tokenizer included",
    ]
    assert memory.value is not None
    assert 20 < memory.value < 900
    assert "0 MB only" in report.notes[0]


def test_batches_hold_everything_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_BATCH_BYTES", 10)
    texts = [str(number) * 3 for number in range(20)]
    batches = list(benchmark.in_batches(texts))
    assert [text for batch in batches for text in batch] == texts
    assert all(sum(map(len, batch)) < 16 for batch in batches)
    assert list(benchmark.in_batches([])) == []
