from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingot.costs import CostConfig
from ingot.errors import UsageError
from ingot.training.config.recipe import Recipe
from ingot.training.monitoring.run_plot import write_plot
from ingot.training.monitoring.runs import find_runs, read_curves, summarise, thinned
from ingot.training.run_folder.run import Run

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def trained(
    recipe: Callable[..., Recipe], new_run: Callable[..., Run], watch: Any, tmp_path: Path
) -> Path:
    """A folder of two runs that are done, one that has not begun, and one that is damaged."""
    for name, steps in (("one", 6), ("other", 3)):
        cost = {"watts": 1000.0, "price_per_kwh": 0.5, "currency": "EUR"}
        watch().train(new_run(recipe(run={"steps": steps}, cost=cost), f"runs/{name}"))
    new_run(recipe(), "runs/waiting")
    new_run(recipe(), "runs/<b>broken<b>")
    (tmp_path / "runs" / "<b>broken<b>" / "run.json").write_text("{")
    return tmp_path / "runs"


def test_runs_are_listed_and_drawn(trained: Path, tmp_path: Path) -> None:
    found = find_runs([trained, trained / "one"])
    rows = [summarise(path) for path in found]
    assert {Path(row.path).name: row.status.split(":")[0] for row in rows} == {
        "<b>broken<b>": "damaged",
        "one": "finished",
        "other": "finished",
        "waiting": "not begun",
    }
    one = next(row for row in rows if row.path.endswith("one"))
    assert (one.steps, one.tokens, one.task) == (6, 6 * 32 * 4, "text")
    assert one.validation_loss is not None
    picture, page = write_plot([read_curves(path) for path in found], rows, tmp_path / "out.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = page.read_text()
    assert "<svg" in text
    assert "&lt;b&gt;broken" in text
    assert "<b>broken" not in text


def test_curves_are_the_record_up_to_a_torn_line(trained: Path) -> None:
    record = trained / "one" / "metrics.jsonl"
    record.write_bytes(record.read_bytes() + b'{"event": "stepp')
    curves = read_curves(trained / "one")
    assert curves.steps == [1, 2, 3, 4, 5, 6]
    assert len(curves.losses) == 6
    assert curves.scored_steps == [3, 6]


def test_a_thinned_curve_is_made_of_means() -> None:
    steps, losses = list(range(1, 8)), [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    assert thinned(steps, losses, last=7, most=10) == tuple(zip(steps, losses, strict=True))
    assert thinned(steps, losses, last=6, most=3) == ((2, 6.5), (4, 4.5), (6, 2.5))
    assert thinned(steps, losses, last=7, most=2) == ((3, 6.0), (7, 2.5))
    assert thinned(steps, losses, last=0, most=3) is None
    assert thinned([], [], last=5, most=3) is None


def test_the_verb(trained: Path, here: Cli, tmp_path: Path) -> None:
    shown = here("runs", trained, "--plot", tmp_path / "p.html").stdout
    assert "finished" in shown
    assert (tmp_path / "p.png").is_file()
    assert (tmp_path / "p.html").is_file()
    rows = json.loads(here("runs", trained / "one", "--json").stdout)
    assert [row["steps"] for row in rows] == [6]
    assert "is not a folder" in here("runs", tmp_path / "none", code=2).stderr


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        find_runs([tmp_path])


def test_energy_and_money() -> None:
    cost = CostConfig(watts=500, price_per_kwh=0.4, price_per_hour=1.0, currency="EUR")
    assert cost.energy_kwh(7200) == pytest.approx(1.0)
    assert cost.money(7200) == pytest.approx(2.4)
    assert cost.told(7200) == "1 kWh, 2.40 EUR"
    unknown = CostConfig()
    assert (unknown.energy_kwh(10), unknown.money(10), unknown.told(10)) == (None, None, "")
    assert CostConfig(price_per_kwh=1.0).money(10) is None  # of what power?


def test_runs_are_listed_where_pytorch_is_not_installed(trained: Path) -> None:
    """FAULTS E7."""
    script = (
        "import sys\n"
        "sys.modules['torch'] = None  # an import of it fails\n"
        "sys.argv = ['ingot', 'runs', sys.argv[1], '--json']\n"
        "from ingot.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(trained)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert {Path(run["path"]).name for run in json.loads(done.stdout)} >= {"one"}
