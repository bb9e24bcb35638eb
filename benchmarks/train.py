"""How fast training is: against a plain GPT of the same size, against the clock, in figures.

``python -m benchmarks.train [--quick] [--json FILE] [--only PART ...] [--text FILE]``.
Parts: throughput, checkpoints, sooner, five, best, curves. ``sooner``, ``five`` and ``best`` train
on a text of characters (tiny Shakespeare is the one that the bars are for) and are left out
without one.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.report import Report, Row, arguments, median_and_spread
from benchmarks.training_costs import draw_costs, measure_costs
from benchmarks.training_speed import BATCH, CONTEXT, VOCABULARY, OurSide, measure_throughput
from ingot.planning import measure_machine
from ingot.training.config.optimizer import OptimizerConfig
from ingot.training.run_folder.async_checkpoint import Saver
from ingot.training.run_folder.checkpoint import latest
from ingot.training.run_folder.run_state import RunState

PARTS = ("throughput", "checkpoints", "sooner", "five", "best", "curves")
RECIPES = Path(__file__).parent.parent / "recipes"
MOST_SLOWER = 0.02
SOONER, SOONER_LOSS = 8.0, 1.88


@dataclass(frozen=True)
class Best:
    """A recipe for the best loss in a given time."""

    recipe: str
    loss: float
    seconds: float


BESTS = {
    "five": Best("shakespeare-5m.toml", 1.55, 300.0),
    "best": Best("shakespeare.toml", 1.4697, 720.0),
}


@dataclass(frozen=True)
class Sizes:
    """Sizes and repeats of a run of the benchmark."""

    repeats: int
    updates: int
    seeds: int


def main() -> int:
    """Run the benchmark; return 0 if every bar is met."""
    parser = arguments("train", "Training speed and what it reaches.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--text", type=Path, help="text of characters for 'sooner' and 'best'")
    parser.add_argument("--plot", type=Path, help="where 'curves' draws its picture (.png)")
    given = parser.parse_args()
    sizes = Sizes(1, 2, 1) if given.quick else Sizes(5, 3, 3)
    report = Report(
        "train",
        settings={"quick": given.quick, "parts": list(given.only), "text": str(given.text)},
        packages=("ingot", "torch"),
    )
    machine = measure_machine()
    if "throughput" in given.only:
        measure_throughput(report, machine, sizes.repeats, sizes.updates)
    if "checkpoints" in given.only:
        measure_checkpoints(report, sizes)
    if "curves" in given.only:
        costs = measure_costs(machine, quick=given.quick)
        for row in costs.rows():
            report.add(row)
        if given.plot:
            draw_costs(costs, given.plot)
    for part in ("sooner", "five", "best"):
        if part not in given.only:
            continue
        if given.text is None or (given.quick and part != "sooner"):
            report.note(f"{part}: left out; it needs --text, and all but 'sooner' no --quick")
        elif part == "sooner":
            measure_sooner(report, given.text.resolve(), sizes)
        else:
            measure_best(report, given.text.resolve(), sizes, BESTS[part])
    return report.finish(given.json)


def measure_checkpoints(report: Report, sizes: Sizes) -> None:
    """Compare updates while a checkpoint is being written with updates while none is."""
    ids = torch.randint(0, VOCABULARY, (BATCH, CONTEXT + 1))
    side = OurSide(ids, OptimizerConfig())
    alone: list[float] = []
    beside: list[float] = []
    copies: list[float] = []
    with tempfile.TemporaryDirectory(prefix="ingot-train-") as folder:
        saver = Saver(Path(folder), keep=1)
        side.update()
        for step in range(2 * sizes.repeats):
            alone += [_seconds(side.update) for _ in range(2)]
            state, weights = RunState(step=step), side.model.state_dict()
            optimizer = side.optimizer.state_tensors()
            copies.append(_seconds(lambda: saver.save(state, weights, optimizer)))  # noqa: B023
            while not saver.written():
                beside.append(_seconds(side.update))
        saver.wait()
        size = sum(file.stat().st_size for file in latest(Path(folder)).iterdir())
    quiet, spread = median_and_spread(alone)
    slower = statistics.median(beside) / quiet - 1
    report.add(Row(f"taking a checkpoint of {size / 1e6:.0f} MB", statistics.median(copies), "s"))
    report.add(
        Row(
            "an update while it is written, slower by",
            100 * slower,
            "%",
            spread,
            bar=f"≤ {MOST_SLOWER:.0%}",
            met=slower <= MOST_SLOWER,
        )
    )


def _seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def measure_sooner(report: Report, text: Path, sizes: Sizes) -> None:
    """Race the plain recipe, each side from process start to its last evaluation."""
    ours: list[tuple[float, float]] = []
    plain: list[tuple[float, float]] = []
    for seed in range(sizes.seeds):
        ours.append(_train_by_recipe(text, "shakespeare-fast.toml", seed))
        arguments_ = ["-m", "benchmarks.plain_gpt", str(text), "--seed", str(seed)]
        plain.append(_timed_process(arguments_, "loss"))
    losses, seconds = [loss for loss, _ in ours], [spent for _, spent in ours]
    ratio = statistics.mean(spent for _, spent in plain) / statistics.mean(seconds)
    _add_losses(report, "loss soon, worst of the seeds", losses, SOONER_LOSS)
    _, spread = median_and_spread(seconds)
    report.add(
        Row(
            "its wall time, process start to end",
            statistics.mean(seconds),
            "s",
            spread,
            peer=f"plain recipe (loss {statistics.mean(loss for loss, _ in plain):.4f})",
            peer_value=statistics.mean(spent for _, spent in plain),
            ratio=ratio,
            bar=f"≥ {SOONER:g} times sooner",
            met=ratio >= SOONER,
        )
    )


def measure_best(report: Report, text: Path, sizes: Sizes, best: Best) -> None:
    """Train a recipe for a text of a million characters, in so many minutes."""
    done = [_train_by_recipe(text, best.recipe, seed) for seed in range(sizes.seeds)]
    name = f"loss in {best.seconds / 60:g} minutes, worst"
    _add_losses(report, name, [loss for loss, _ in done], best.loss)
    slowest = max(spent for _, spent in done)
    report.add(
        Row(
            "its wall time, slowest",
            slowest,
            "s",
            bar=f"≤ {best.seconds:g} s",
            met=slowest <= best.seconds,
        )
    )


def _add_losses(report: Report, name: str, losses: list[float], bar: float) -> None:
    _, spread = median_and_spread(losses)
    report.note(f"{name}: {', '.join(f'{loss:.4f}' for loss in losses)}")
    worst = max(losses)
    report.add(Row(name, worst, "nats/char", spread, bar=f"≤ {bar}", met=worst <= bar))


def _train_by_recipe(text: Path, recipe: str, seed: int) -> tuple[float, float]:
    """Return the held-out loss per character and the seconds of one run of a recipe."""
    with tempfile.TemporaryDirectory(prefix="ingot-train-") as folder:
        command = ["-m", "ingot", "train", str(text), "--recipe", str(RECIPES / recipe)]
        command += ["--set", f"run.seed={seed}", "--out", f"{folder}/run", "--json"]
        bits, seconds = _timed_process(command, "bits_per_byte")
    return bits * 0.6931471805599453, seconds  # nats; the text is ASCII, a byte a character


def _timed_process(command: list[str], figure: str) -> tuple[float, float]:
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603 (commands of our own)
        [sys.executable, *command], check=True, capture_output=True, text=True, timeout=3600
    )
    return float(json.loads(done.stdout)[figure]), time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
