from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.report import Report, Row, arguments, in_turn, median_and_spread


@pytest.fixture
def report() -> Report:
    return Report("example", settings={"repeats": 3}, packages=("numpy", "no-such-package"))


@pytest.mark.parametrize(
    ("verdicts", "code"), [([], 1), ([None], 0), ([True, None], 0), ([True, False], 1)]
)
def test_exit_code_is_zero_only_if_every_bar_is_met(
    report: Report, verdicts: list[bool | None], code: int
) -> None:
    for met in verdicts:
        report.add(Row("r", 1.0, "s", bar=None if met is None else "≤ 1 s", met=met))
    assert report.exit_code == code


def test_json_holds_rows_machine_versions_settings_and_notes(
    report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report.add(Row("rate", 2.5, "MB/s", peer="other", peer_value=2.0, ratio=1.25))
    report.note("a note with [brackets]")
    assert report.finish(tmp_path / "rows.json") == 0
    data = json.loads((tmp_path / "rows.json").read_text())
    assert data["rows"][0] == {
        "name": "rate",
        "value": 2.5,
        "unit": "MB/s",
        "spread": None,
        "peer": "other",
        "peer_value": 2.0,
        "ratio": 1.25,
        "limit": None,
        "share": None,
        "bar": None,
        "met": None,
    }
    assert data["settings"] == {"repeats": 3}
    assert data["versions"]["no-such-package"] == "not installed"
    assert data["versions"]["numpy"][0].isdigit()
    assert data["machine"]["cores"] >= 1
    assert data["machine"]["load_before"] >= 0
    assert "a note with [brackets]" in capsys.readouterr().out


def test_table_shows_what_is_met_what_is_not_and_what_is_missing(report: Report) -> None:
    report.add(Row("speed", 1234567.0, "tokens/s", spread=0.021, bar="≥ 1 million", met=True))
    report.add(Row("peer [x]", None, "s", peer="missing", bar="≥ 2 times", met=False))
    out = io.StringIO()
    report.print(Console(file=out, width=200))
    text = out.getvalue()
    assert "1,234,567 tokens/s" in text
    assert "2.1%" in text
    assert "≥ 1 million: met" in text
    assert "≥ 2 times: NOT met" in text
    assert "not measured" in text
    assert "peer [x]" in text


@pytest.mark.parametrize(("share", "code"), [(0.9, 0), (1.05, 0), (1.87, 1)])
def test_a_figure_beyond_its_limit_is_an_error_of_the_benchmark(
    report: Report, share: float, code: int
) -> None:
    """FAULTS D15."""
    report.add(Row("one row", 18 * share, "GB/s", limit=18, share=share, bar="≥ 90%", met=True))
    assert report.exit_code == code
    notes = ["error: one row: 187% of its limit; the limit was measured too low"]
    assert report.notes == (notes if code else [])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="ratio is"):
        Row("r", 1.0, "s", ratio=value)


def test_a_bar_needs_a_verdict_and_a_verdict_a_bar() -> None:
    with pytest.raises(ValueError, match="bar"):
        Row("r", 1.0, "s", bar="≤ 1 s")
    with pytest.raises(ValueError, match="bar"):
        Row("r", 1.0, "s", met=True)


def test_sides_run_in_turn() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    figures = in_turn({"a": lambda: side("a"), "b": lambda: side("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert figures == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_median_and_spread() -> None:
    assert median_and_spread([10.0, 8.0, 13.0]) == (10.0, 0.25)
    assert median_and_spread([0.0]) == (0.0, 0.0)
    with pytest.raises(ValueError, match="no figures"):
        median_and_spread([])


def test_every_benchmark_takes_quick_and_json() -> None:
    given = arguments("example", "An example.").parse_args(["--quick", "--json", "x.json"])
    assert given.quick
    assert given.json == Path("x.json")
