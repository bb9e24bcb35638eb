from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ingot.lesson.experiments import machine_load
from ingot.lesson.experiments.machine_load import (
    BUSY_SHARE,
    Measured,
    ProcessorTime,
    least_disturbed,
    others_share,
    processor_time,
    watched,
)


def test_the_share_of_others_is_what_neither_idled_nor_was_ours() -> None:
    before = ProcessorTime(total=100.0, busy=40.0, own=5.0)
    after = ProcessorTime(total=120.0, busy=52.0, own=9.0)
    assert others_share(before, after) == pytest.approx((12 - 4) / 20)
    assert others_share(before, ProcessorTime(110.0, 45.0, 20.0)) == 0  # counted in other ticks
    assert others_share(before, before) is None
    assert others_share(None, after) is None


def test_where_the_system_does_not_tell_nothing_is_claimed(tmp_path: Path) -> None:
    assert processor_time(tmp_path / "absent") is None
    (tmp_path / "stat").write_text("cpu  x y z\n")
    assert processor_time(tmp_path / "stat") is None
    assert not Measured(0, None).busy


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux")
def test_programs_that_compute_meanwhile_are_noticed() -> None:
    spin = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    others = [subprocess.Popen(spin, stdout=subprocess.PIPE) for _ in range(os.cpu_count() or 1)]
    try:
        for other in others:
            assert other.stdout is not None
            other.stdout.readline()
        assert watched(lambda: time.sleep(1)).busy
    finally:
        for other in others:
            other.kill()
            other.communicate()


def test_a_disturbed_measurement_is_repeated_and_the_quieter_one_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings = iter(
        [
            *(ProcessorTime(0, 0, 0), ProcessorTime(10, 8, 0)),  # others: 0.8
            *(ProcessorTime(20, 8, 0), ProcessorTime(30, 13, 0)),  # 0.5
            *(ProcessorTime(40, 13, 0), ProcessorTime(50, 14, 1)),  # 0
        ]
    )
    monkeypatch.setattr(machine_load, "processor_time", lambda: next(readings))
    disturbed: list[float | None] = []
    values = iter("abc")
    best = least_disturbed(
        lambda: next(values), lambda each: disturbed.append(each.others), attempts=2
    )
    assert (best.value, best.others, best.busy) == ("b", 0.5, True)
    assert disturbed == [0.8]
    quiet = least_disturbed(lambda: next(values), lambda _: disturbed.append(None))
    assert (quiet.value, quiet.busy) == ("c", False)
    assert len(disturbed) == 1
    assert 0 < BUSY_SHARE < 0.5
