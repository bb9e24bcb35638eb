from __future__ import annotations

from pathlib import Path

import pytest

from ingot.energy import EnergyMeter


def package(root: Path, name: str, energy: int, most: int = 999) -> Path:
    """Make a counter as the kernel shows it."""
    folder = root / name
    folder.mkdir()
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    return folder / "energy_uj"


def test_packages_are_added_up_and_their_parts_are_not(tmp_path: Path) -> None:
    first = package(tmp_path, "intel-rapl:0", 100, 10**9)
    second = package(tmp_path, "intel-rapl:1", 7, 10**9)
    part = package(tmp_path, "intel-rapl:0:0", 50, 10**9)
    meter = EnergyMeter(tmp_path)
    assert meter.available
    assert meter.joules() == 0
    first.write_text("2000100\n")
    second.write_text("1000007\n")
    part.write_text("900000\n")
    assert meter.joules() == pytest.approx(3.0)


def test_a_counter_that_turned_over_counts_on(tmp_path: Path) -> None:
    counter = package(tmp_path, "intel-rapl:0", 990)
    meter = EnergyMeter(tmp_path)
    counter.write_text("10\n")  # 990 to 999, then 0 to 10
    assert meter.joules() == pytest.approx(20e-6)
    counter.write_text("30\n")
    assert meter.joules() == pytest.approx(40e-6)


def test_a_counter_that_breaks_keeps_what_it_counted(tmp_path: Path) -> None:
    counter = package(tmp_path, "intel-rapl:0", 0)
    meter = EnergyMeter(tmp_path)
    counter.write_text("500\n")
    assert meter.joules() == pytest.approx(500e-6)
    for broken in ("x", ""):
        counter.write_text(broken)
        assert meter.joules() == pytest.approx(500e-6)
    counter.unlink()
    assert meter.joules() == pytest.approx(500e-6)


@pytest.mark.parametrize("text", ["", "x", "-1\n", "0\n"])
def test_a_counter_without_a_range_is_left_out(tmp_path: Path, text: str) -> None:
    counter = package(tmp_path, "intel-rapl:0", 1)
    (counter.parent / "max_energy_range_uj").write_text(text)
    assert EnergyMeter(tmp_path).joules() is None
