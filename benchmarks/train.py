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
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_gpt import PlainGPT, adamw, update
from benchmarks.report import Report, Row, arguments, in_turn, median_and_spread
from benchmarks.training_costs import draw_costs, measure_costs
from ingot.model import ModelConfig
from ingot.model.transformer import Transformer
from ingot.planning import Machine, measure_machine
from ingot.training.checkpoint import RunState, latest
from ingot.training.objectives import Batch
from ingot.training.objectives.next_token import next_token_loss
from ingot.training.optimizer import Optimizer, OptimizerConfig
from ingot.training.precision import Precision
from ingot.training.saver import Saver

PARTS = ("throughput", "checkpoints", "sooner", "five", "best", "curves")
RECIPES = Path(__file__).parent.parent / "recipes"
LEAST_SPEEDUP, LEAST_SHARE = 3.5, 0.55
MOST_SLOWER = 0.02
SOONER, SOONER_LOSS = 8.0, 1.88

_VOCABULARY, _CONTEXT, _BATCH = 65, 256, 16


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


def measure_throughput(report: Report, machine: Machine, sizes: Sizes) -> None:
    """Compare tokens per second with the plain GPT's at 10.65M parameters."""
    plain = PlainGPT(_VOCABULARY, layers=6, width=384, heads=6, context=_CONTEXT)
    theirs = adamw(plain)
    ids = torch.randint(0, _VOCABULARY, (_BATCH, _CONTEXT + 1))
    side = OurSide(ids, OptimizerConfig())
    config = side.config
    with_adamw = OurSide(ids, OptimizerConfig(method="adamw"))
    with FlopCounterMode(display=False) as counted:
        side.update()

    def timed(make: Callable[[], None]) -> Callable[[], float]:
        def run() -> float:
            started = time.perf_counter()
            for _ in range(sizes.updates):
                make()
            return sizes.updates * _BATCH * _CONTEXT / (time.perf_counter() - started)

        return run

    sides = {
        "ours": timed(side.update),
        "ours, AdamW alone": timed(with_adamw.update),
        "plain": timed(lambda: update(plain, theirs, ids)),
        "transformers": timed(transformers_update(ids)),
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
    hugging_face, hugging_face_spread = median_and_spread(figures["transformers"])
    report.add(
        Row(
            "the GPT-2 of transformers, float32, AdamW",
            hugging_face,
            "tokens/s",
            hugging_face_spread,
            peer="ours",
            peer_value=ours,
            ratio=hugging_face / ours,
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


def transformers_update(ids: torch.Tensor) -> Callable[[], None]:
    """Return one update of Hugging Face's GPT-2 of the same size, dropout and all as it comes."""
    from transformers import GPT2Config, GPT2LMHeadModel  # noqa: PLC0415  heavy

    config = GPT2Config(
        vocab_size=_VOCABULARY, n_positions=_CONTEXT, n_embd=384, n_layer=6, n_head=6
    )
    model = GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    windows = ids[:, :-1]  # it shifts the labels itself

    def make() -> None:
        model(input_ids=windows, labels=windows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return make


class OurSide:
    """Our model of about 10.65M parameters, trained on one batch."""

    def __init__(self, ids: torch.Tensor, optimizer: OptimizerConfig) -> None:
        self.config = ModelConfig(
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
        self._precision = Precision.choose()
        self.model = Transformer(self.config).to(self._precision.device)
        self.model.initialise(torch.Generator().manual_seed(0))
        self.optimizer = Optimizer(self.model, optimizer, self._precision.dtype)
        self._batch = Batch(ids.numpy(), None, None)

    def update(self) -> None:
        """Make one update."""
        with self._precision.autocast():
            loss = next_token_loss(self.model, self._batch, self._precision.device)
        (loss / self._batch.weight).backward()  # type: ignore[no-untyped-call]
        self.optimizer.clip()
        self.optimizer.step(1.0)
        self.optimizer.zero_grad()


def measure_checkpoints(report: Report, sizes: Sizes) -> None:
    """Compare updates while a checkpoint is being written with updates while none is."""
    ids = torch.randint(0, _VOCABULARY, (_BATCH, _CONTEXT + 1))
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
