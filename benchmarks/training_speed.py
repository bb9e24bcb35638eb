"""Tokens per second of one update: ours, a plain GPT's, and those of other libraries."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers.environments import ENVIRONMENTS
from benchmarks.peers.process import PeerFailed, PeerProcess
from benchmarks.plain_gpt import PlainGPT, adamw, update
from benchmarks.report import Report, Row, in_turn, median_and_spread
from ingot.errors import ResourceError
from ingot.model import ModelConfig
from ingot.model.transformer import Transformer
from ingot.planning import Machine
from ingot.training.compute.compile import compiled
from ingot.training.compute.fused_modules import fuse
from ingot.training.compute.precision import Precision
from ingot.training.config.optimizer import OptimizerConfig
from ingot.training.data.batch import Batch
from ingot.training.objectives.next_token import next_token_loss
from ingot.training.optim.optimizer import Optimizer

LEAST_SPEEDUP, LEAST_SHARE = 3.5, 0.55
VOCABULARY, CONTEXT, BATCH = 65, 256, 16

_OURS = "ours, compiled"
_PLAIN = "a plain GPT, written by hand, float32"
_LITGPT = "litgpt, as its pretraining does it (float32, compiled)"


class OurSide:
    """Our model of about 10.65M parameters, trained on one batch.

    Raises:
        ResourceError: It is to be compiled, and no compiler is installed.
    """

    def __init__(
        self, ids: torch.Tensor, optimizer: OptimizerConfig, *, compile_it: bool = False
    ) -> None:
        self.config = ModelConfig(
            vocab_size=VOCABULARY,
            hidden_size=384,
            intermediate_size=1056,
            num_hidden_layers=6,
            num_attention_heads=6,
            num_key_value_heads=6,
            head_dim=64,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=False,
        )
        self._precision = Precision.choose()
        self.model = Transformer(self.config).to(self._precision.device)
        self.model.initialise(torch.Generator().manual_seed(0))
        fuse(self.model, self._precision)
        device = self._precision.device
        self._learner = compiled(self.model, device) if compile_it else self.model
        self.optimizer = Optimizer(self.model, optimizer, self._precision.dtype)
        self._batch = Batch(ids.numpy(), None, None)

    def update(self) -> None:
        """Make one update."""
        with self._precision.autocast():
            loss = next_token_loss(self._learner, self._batch, self._precision.device)
        (loss / self._batch.weight).backward()  # type: ignore[no-untyped-call]
        self.optimizer.clip()
        self.optimizer.step(1.0)
        self.optimizer.zero_grad()


def measure_throughput(report: Report, machine: Machine, repeats: int, updates: int) -> None:
    """Compare tokens per second at 10.65M parameters, every side in turn."""
    ids = torch.randint(0, VOCABULARY, (BATCH, CONTEXT + 1))
    eager = OurSide(ids, OptimizerConfig())
    with FlopCounterMode(display=False) as counted:
        eager.update()
    plain = PlainGPT(VOCABULARY, layers=6, width=384, heads=6, context=CONTEXT)
    theirs = adamw(plain)
    with_adamw = OurSide(ids, OptimizerConfig(method="adamw"))
    sides = {
        "ours": _timed(eager.update, updates),
        "ours, AdamW alone": _timed(with_adamw.update, updates),
        _PLAIN: _timed(lambda: update(plain, theirs, ids), updates),
        "the GPT-2 of transformers, float32": _timed(_transformers_update(ids), updates),
    }
    try:
        fused = OurSide(ids, OptimizerConfig(), compile_it=True)
        sides = {_OURS: _timed(fused.update, updates)} | sides
    except ResourceError as error:
        report.note(f"throughput: ours was not compiled: {error}")
    with contextlib.ExitStack() as stack:
        if ENVIRONMENTS["litgpt"].installed:
            python = str(ENVIRONMENTS["litgpt"].python)
            command = [python, "-m", "benchmarks.peers.drivers.litgpt_training"]
            try:
                peer = stack.enter_context(PeerProcess(command))
                sides[_LITGPT] = lambda: peer.rate("train", updates=updates)
            except PeerFailed as error:
                report.note(f"throughput: litgpt was left out: {error}")
        else:
            report.note("throughput: litgpt left out; python -m benchmarks.peers install litgpt")
        for run in sides.values():
            run()  # sets things up
        figures = in_turn(sides, repeats)
    _report(report, figures, counted.get_total_flops(), machine)


def _timed(make: Callable[[], None], updates: int) -> Callable[[], float]:
    """Return what measures the tokens per second of so many updates."""

    def run() -> float:
        started = time.perf_counter()
        for _ in range(updates):
            make()
        return updates * BATCH * CONTEXT / (time.perf_counter() - started)

    return run


def _report(report: Report, figures: dict[str, list[float]], flops: int, machine: Machine) -> None:
    """Add a row for each side, beside the plain GPT, and one for the share of the peak."""
    barred = machine.bfloat16
    if not barred:
        report.note(
            "throughput: no bfloat16 in this processor, so all sides compute in float32 and the "
            f"bars (≥ {LEAST_SPEEDUP} times, ≥ {LEAST_SHARE:.0%} of the peak) do not apply"
        )
    best = _OURS if _OURS in figures else "ours"
    plain = figures[_PLAIN]
    for name, rates in figures.items():
        value, spread = median_and_spread(rates)
        ratio = statistics.median(mine / other for mine, other in zip(rates, plain, strict=True))
        bar = barred and name == best
        report.add(
            Row(
                f"training, 10.65M parameters: {name}",
                value,
                "tokens/s",
                spread,
                peer=None if name == _PLAIN else "the plain GPT",
                peer_value=None if name == _PLAIN else statistics.median(plain),
                ratio=None if name == _PLAIN else ratio,
                bar=f"≥ {LEAST_SPEEDUP} times" if bar else None,
                met=ratio >= LEAST_SPEEDUP if bar else None,
            )
        )
    for name in dict.fromkeys((best, "ours")):
        value, spread = median_and_spread(figures[name])
        reached = value / (BATCH * CONTEXT) * flops
        share, bar = reached / machine.matmul_flops, barred and name == best
        report.add(
            Row(
                f"products, Muon's included: {name}",
                reached / 1e9,
                "GFLOP/s",
                spread,
                limit=machine.matmul_flops / 1e9,
                share=share,
                bar=f"≥ {LEAST_SHARE:.0%} of the peak" if bar else None,
                met=share >= LEAST_SHARE if bar else None,
            )
        )


def _transformers_update(ids: torch.Tensor) -> Callable[[], None]:
    """Return one update of Hugging Face's GPT-2 of the same size, dropout and all as it comes."""
    from transformers import GPT2Config, GPT2LMHeadModel  # noqa: PLC0415  heavy

    config = GPT2Config(vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=384, n_layer=6, n_head=6)
    model = GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    windows = ids[:, :-1]  # it shifts the labels itself

    def make() -> None:
        model(input_ids=windows, labels=windows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return make
