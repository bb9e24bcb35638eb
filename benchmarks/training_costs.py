"""What training costs as model, context and batch grow, and each phase's arithmetic per token."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.report import Row
from ingot.model import ModelConfig
from ingot.model.transformer import Transformer
from ingot.planning import Machine
from ingot.training.compute.fused_modules import fuse
from ingot.training.compute.precision import Precision
from ingot.training.config.optimizer import OptimizerConfig
from ingot.training.data.batch import Batch
from ingot.training.objectives.next_token import next_token_loss
from ingot.training.optim.optimizer import Optimizer

_VOCABULARY = 4096
_WIDTHS, _CONTEXTS, _BATCHES = (64, 128, 256, 384), (128, 256, 512, 1024), (1, 4, 8, 16)
_BASE = (128, 256, 8)  # width, context, windows: what is not varied
_UPDATES = 3


@dataclass(frozen=True)
class Cost:
    """One model, trained a little."""

    width: int
    context: int
    windows: int
    parameters: int
    tokens_per_second: float
    peak_bytes: int


@dataclass(frozen=True)
class Costs:
    """All that was measured."""

    by_width: list[Cost]
    by_context: list[Cost]
    by_batch: list[Cost]
    training_flops: float
    """Per token and parameter, as PyTorch counts them."""
    inference_flops: float
    peak_flops: float

    def rows(self) -> Iterator[Row]:
        """Yield the figures as rows of a report."""
        yield Row("training, FLOPs per token and parameter", self.training_flops, "", limit=6.0)
        yield Row("inference, FLOPs per token and parameter", self.inference_flops, "", limit=2.0)
        for name, costs in self._series():
            for cost in costs:
                yield Row(
                    f"by {name}: width {cost.width}, context {cost.context}, "
                    f"{cost.windows} windows, {cost.peak_bytes / 1e6:,.0f} MB at most",
                    cost.tokens_per_second,
                    "tokens/s",
                )

    def _series(self) -> list[tuple[str, list[Cost]]]:
        return [
            ("model", self.by_width),
            ("context", self.by_context),
            ("batch", self.by_batch),
        ]


def measure_costs(machine: Machine, *, quick: bool) -> Costs:
    """Train models of many sizes, each in a separate process so that its memory can be told."""
    keep = 2 if quick else 4
    width, context, windows = _BASE
    training, inference = _counted_flops()
    return Costs(
        [_alone(each, context, windows) for each in _WIDTHS[:keep]],
        [_alone(width, each, windows) for each in _CONTEXTS[:keep]],
        [_alone(width, context, each) for each in _BATCHES[:keep]],
        training,
        inference,
        machine.matmul_flops,
    )


def draw_costs(costs: Costs, out: Path) -> None:
    """Draw tokens per second and peak memory against model, context and batch."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 3)
    for column, (name, positions, series) in enumerate(
        (
            ("parameters", [c.parameters for c in costs.by_width], costs.by_width),
            ("context", [c.context for c in costs.by_context], costs.by_context),
            ("windows at once", [c.windows for c in costs.by_batch], costs.by_batch),
        )
    ):
        axes[0][column].plot(positions, [c.tokens_per_second for c in series], "o-")
        axes[1][column].plot(positions, [c.peak_bytes / 1e6 for c in series], "o-", color="C1")
        axes[1][column].set_xlabel(name)
        for row in (0, 1):
            axes[row][column].set_xscale("log")
            axes[row][column].set_xticks(
                positions, [_short(position) for position in positions], minor=False
            )
            axes[row][column].set_xticks([], minor=True)
            if (row, column) != (0, 0):  # which spans decades
                axes[row][column].set_ylim(bottom=0)
            axes[row][column].grid(alpha=0.3)
    sizes = [c.parameters for c in costs.by_width]
    limit = [costs.peak_flops / (6 * size) for size in sizes]
    axes[0][0].plot(sizes, limit, "--", color="grey", label="peak / 6N")
    axes[0][0].set_yscale("log")
    axes[0][0].legend()
    axes[0][0].set_ylabel("tokens per second")
    axes[1][0].set_ylabel("peak memory, MB")
    figure.suptitle(
        "FLOPs per token and parameter, as counted: "
        f"training {costs.training_flops:.2f} (6N), inference {costs.inference_flops:.2f} (2N)",
        fontsize="medium",
    )
    figure.savefig(out, dpi=110)


def _short(number: int) -> str:
    return f"{number / 1e6:.1f}M" if number >= 100_000 else str(number)


def _alone(width: int, context: int, windows: int) -> Cost:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (width, context, windows))


def _measure(width: int, context: int, windows: int) -> Cost:
    """Run in a separate process."""
    before = _most_memory()
    config = _config(width, context)
    precision = Precision.choose()
    model = Transformer(config).to(precision.device)
    fuse(model, precision)
    model.initialise(torch.Generator().manual_seed(0))
    optimizer = Optimizer(model, OptimizerConfig(), precision.dtype)
    batch = _batch(context, windows)

    def step() -> None:
        with precision.autocast():
            loss = next_token_loss(model, batch, precision.device)
        (loss / batch.weight).backward()  # type: ignore[no-untyped-call]
        optimizer.step(1.0)
        optimizer.zero_grad()

    step()
    started = time.perf_counter()
    for _ in range(_UPDATES):
        step()
    speed = _UPDATES * batch.weight / (time.perf_counter() - started)
    return Cost(width, context, windows, config.parameters, speed, _most_memory() - before)


def _most_memory() -> int:
    """Return the most bytes that this process has had resident."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)


def _counted_flops() -> tuple[float, float]:
    """Return FLOPs per token and parameter of training and of inference, as PyTorch counts."""
    config = _config(256, 64)
    model = Transformer(config)
    model.initialise(torch.Generator().manual_seed(0))
    batch = _batch(64, 4)
    matrices = (
        config.parameters - _VOCABULARY * config.hidden_size
    )  # looking a row up is not a product
    with FlopCounterMode(display=False) as training:
        next_token_loss(model, batch, torch.device("cpu")).backward()  # type: ignore[no-untyped-call]
    with FlopCounterMode(display=False) as inference, torch.inference_mode():
        model.logits(model(torch.from_numpy(batch.ids[:, :-1])))
    each = batch.weight * matrices
    return training.get_total_flops() / each, inference.get_total_flops() / each


def _batch(context: int, windows: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, _VOCABULARY, (windows, context + 1), generator=generator)
    return Batch(ids.numpy(), None, None)


def _config(width: int, context: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=_VOCABULARY,
        hidden_size=width,
        intermediate_size=width * 8 // 3 // 8 * 8,
        num_hidden_layers=4,
        num_attention_heads=width // 64,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=context,
        tie_word_embeddings=False,
    )
