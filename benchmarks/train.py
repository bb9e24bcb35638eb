"""How fast training is: against a plain GPT of the same size, against the clock, in figures.

``python -m benchmarks.train [--quick] [--json FILE] [--only PART ...] [--text FILE]``.
Parts: throughput, sooner, best, curves. ``sooner`` and ``best`` train on a text of
characters (tiny Shakespeare is the one that the bars are for) and are left out without one.
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
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_gpt import PlainGPT, adamw, update
from benchmarks.report import Report, Row, arguments, in_turn, median_and_spread
from benchmarks.training_costs import draw_costs, measure_costs
from ingot.model import ModelConfig
from ingot.model.transformer import Transformer
from ingot.planning import Machine, measure_machine
from ingot.training.objectives import Batch
from ingot.training.objectives.next_token import next_token_loss
from ingot.training.optimizer import Optimizer, OptimizerConfig
from ingot.training.precision import Precision

PARTS = ("throughput", "sooner", "best", "curves")
RECIPES = Path(__file__).parent.parent / "recipes"
LEAST_SPEEDUP, LEAST_SHARE = 3.5, 0.55
SOONER, SOONER_LOSS = 8.0, 1.88
BEST_LOSS, BEST_SECONDS = 1.4697, 720.0

_VOCABULARY, _CONTEXT, _BATCH = 65, 256, 16


@dataclass(frozen=True)
class Sizes:
    """How much of everything is done."""

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
        measure_throughput(report, machine, sizes)
    if "curves" in given.only:
        costs = measure_costs(machine, quick=given.quick)
        for row in costs.rows():
            report.add(row)
        if given.plot:
            draw_costs(costs, given.plot)
    for part, measure in (("sooner", measure_sooner), ("best", measure_best)):
        if part not in given.only:
            continue
        if given.text is None or (given.quick and part == "best"):
            report.note(f"{part}: left out; it needs --text and, for 'best', no --quick")
            continue
        measure(report, given.text.resolve(), sizes)
    return report.finish(given.json)


def measure_throughput(report: Report, machine: Machine, sizes: Sizes) -> None:
    """Compare tokens per second with the plain GPT's at 10.65M parameters."""
    plain = PlainGPT(_VOCABULARY, layers=6, width=384, heads=6, context=_CONTEXT)
    theirs = adamw(plain)
    ids = torch.randint(0, _VOCABULARY, (_BATCH, _CONTEXT + 1))
    config, step = ours_of_that_size(ids, OptimizerConfig())
    _, with_adamw = ours_of_that_size(ids, OptimizerConfig(method="adamw"))
    with FlopCounterMode(display=False) as counted:
        step()

    def timed(make: Callable[[], None]) -> Callable[[], float]:
        def run() -> float:
            started = time.perf_counter()
            for _ in range(sizes.updates):
                make()
            return sizes.updates * _BATCH * _CONTEXT / (time.perf_counter() - started)

        return run

    sides = {
        "ours": timed(step),
        "ours, AdamW alone": timed(with_adamw),
        "plain": timed(lambda: update(plain, theirs, ids)),
    }
    for run in sides.values():
        run()  # sets things up
    figures = in_turn(sides, sizes.repeats)
    ours, spread = median_and_spread(figures["ours"])
    baseline, _ = median_and_spread(figures["plain"])
    ratio = statistics.median(
        mine / other for mine, other in zip(figures["ours"], figures["plain"], strict=True)
    )
    parameters = sum(p.numel() for p in plain.parameters())
    flops = ours / (_BATCH * _CONTEXT) * counted.get_total_flops()
    bars = machine.bfloat16
    if not bars:
        report.note(
            "throughput: no bfloat16 in this processor, so both sides compute in float32 and the "
            f"bars (≥ {LEAST_SPEEDUP} times, ≥ {LEAST_SHARE:.0%} of the peak) do not apply"
        )
    report.add(
        Row(
            f"training, {config.parameters / 1e6:.2f}M parameters",
            ours,
            "tokens/s",
            spread,
            peer=f"plain GPT, {parameters / 1e6:.2f}M",
            peer_value=baseline,
            ratio=ratio,
            bar=f"≥ {LEAST_SPEEDUP} times" if bars else None,
            met=ratio >= LEAST_SPEEDUP if bars else None,
        )
    )
    adamw_rate, adamw_spread = median_and_spread(figures["ours, AdamW alone"])
    report.add(
        Row(
            "the same with AdamW alone",
            adamw_rate,
            "tokens/s",
            adamw_spread,
            peer="plain GPT",
            peer_value=baseline,
            ratio=adamw_rate / baseline,
        )
    )
    share = flops / machine.matmul_flops
    report.add(
        Row(
            "its products, Muon's included",
            flops / 1e9,
            "GFLOP/s",
            spread,
            limit=machine.matmul_flops / 1e9,
            share=share,
            bar=f"≥ {LEAST_SHARE:.0%} of the peak" if bars else None,
            met=share >= LEAST_SHARE if bars else None,
        )
    )


def ours_of_that_size(
    ids: torch.Tensor, optimizer_config: OptimizerConfig
) -> tuple[ModelConfig, Callable[[], None]]:
    """Return our model of about 10.65M parameters, and one update of it."""
    config = ModelConfig(
        vocab_size=_VOCABULARY,
        hidden_size=384,
        intermediate_size=1056,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=6,
        head_dim=64,
        max_position_embeddings=_CONTEXT,
        tie_word_embeddings=False,
    )
    precision = Precision.choose()
    model = Transformer(config).to(precision.device)
    model.initialise(torch.Generator().manual_seed(0))
    optimizer = Optimizer(model, optimizer_config, precision.dtype)
    batch = Batch(ids.numpy(), None, None)

    def step() -> None:
        with precision.autocast():
            loss = next_token_loss(model, batch, precision.device)
        (loss / batch.weight).backward()  # type: ignore[no-untyped-call]
        optimizer.clip()
        optimizer.step(1.0)
        optimizer.zero_grad()

    return config, step


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


def measure_best(report: Report, text: Path, sizes: Sizes) -> None:
    """Train the best recipe for a text of a million characters, in twelve minutes."""
    done = [_train_by_recipe(text, "shakespeare.toml", seed) for seed in range(sizes.seeds)]
    _add_losses(report, "loss in twelve minutes, worst", [loss for loss, _ in done], BEST_LOSS)
    slowest = max(spent for _, spent in done)
    report.add(
        Row(
            "its wall time, slowest",
            slowest,
            "s",
            bar=f"≤ {BEST_SECONDS:g} s",
            met=slowest <= BEST_SECONDS,
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
