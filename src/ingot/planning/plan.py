"""Planner: from a time budget and a corpus to tokenizer, model, batch and schedule.

The rules were fitted to runs of one to thirty minutes on small machines; docs/training.md
says how. A recipe file or a setting overrides any of them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from ingot.model.config import ModelConfig
from ingot.model.transformer import Transformer
from ingot.planning.machine import Machine

_UTILISATION = 0.45  # of the matrix-product peak, for a first guess at what a run can afford
_BYTES_PER_TOKEN = 3.2  # of text in a vocabulary of a few thousand
_TRIALS = 3
_LEAST_UPDATES = 50  # of a planned run; fewer teach nothing
_BUILD_BYTES_PER_SECOND = 1e6  # of text, read twice and tokenized; two slow cores
_START_SECONDS = 4.0  # of the tokenizer, the first weights and the first update
_LEAST_SHARE = 0.1  # of the budget, for training, however long set-up takes


@dataclass(frozen=True)
class Choice:
    """One chosen setting and the reason, for display."""

    key: str
    """Its name in the recipe."""
    value: object
    why: str


@dataclass(frozen=True)
class Plan:
    """Recipe for a budget and a machine, with the reason of each choice."""

    tables: Mapping[str, Mapping[str, Any]]
    """The choices as recipe tables."""
    choices: tuple[Choice, ...]
    tokens_per_second: float
    """As timed on this machine with the chosen model."""


@dataclass(frozen=True)
class _Rung:
    """A model size of the ladder, and the compute from which it pays."""

    flops: float
    width: int
    layers: int
    heads: int
    key_value_heads: int
    context: int
    sequences: int
    vocab_size: int


_LADDER = (
    _Rung(0.0, 64, 2, 1, 1, 128, 4, 1024),
    _Rung(1e12, 128, 2, 2, 1, 256, 4, 4096),
    _Rung(5e12, 128, 4, 2, 1, 256, 4, 4096),
    _Rung(6e13, 192, 5, 3, 1, 256, 8, 4096),
    _Rung(2e14, 256, 6, 4, 2, 512, 8, 4096),
    _Rung(1e15, 384, 8, 6, 2, 512, 16, 8192),
    _Rung(8e15, 512, 10, 8, 4, 1024, 16, 8192),
    _Rung(5e16, 768, 12, 12, 4, 1024, 32, 16_384),
    _Rung(5e17, 1024, 20, 16, 8, 2048, 64, 32_768),
)


def build_seconds(text_bytes: int) -> float:
    """Estimate the seconds that a corpus of so much text takes to build."""
    return text_bytes / _BUILD_BYTES_PER_SECOND


def plan(
    budget_seconds: float, corpus_bytes: int, machine: Machine, setup_seconds: float = 0.0
) -> Plan:
    """Choose tokenizer, model, batch and evaluations for a budget, and time the model.

    Args:
        budget_seconds: Wall time of the whole run, set-up included.
        corpus_bytes: Size of the text.
        machine: The machine as measured.
        setup_seconds: What of the budget is spent already, or will be on the corpus.
    """
    started = time.perf_counter()
    least = _LEAST_SHARE * budget_seconds
    training_seconds = max(budget_seconds - setup_seconds - _START_SECONDS, least)
    affordable = training_seconds * machine.matmul_flops * _UTILISATION
    for size in reversed([rung for rung in _LADDER if rung.flops <= affordable]):
        rung = _fitting(size, corpus_bytes)
        config = _config(rung)
        speed = _tokens_per_second(config, rung, machine)
        setup = setup_seconds + _START_SECONDS + time.perf_counter() - started
        training_seconds = max(budget_seconds - setup, least)
        steps = int(training_seconds * speed / (rung.context * rung.sequences))
        if steps >= _LEAST_UPDATES:  # a busy machine is slower than its measured peak
            break
    held_out = max(0.02 * corpus_bytes / _BYTES_PER_TOKEN, 1.0)
    evaluation = held_out * 2 / 3 / speed
    evaluations = int(min(max(0.08 * training_seconds / evaluation, 1), 10))
    choices = (
        Choice(
            "run.budget_seconds",
            budget_seconds,
            f"of wall time; about {setup:.0f} s go into set-up",
        ),
        Choice("corpus.vocab_size", rung.vocab_size, f"for {corpus_bytes / 1e6:.1f} MB of text"),
        Choice("model.hidden_size", rung.width, f"{affordable:.1e} FLOPs are affordable"),
        Choice("model.intermediate_size", config.intermediate_size, "8/3 of the width"),
        Choice(
            "model.num_hidden_layers", rung.layers, f"{config.parameters / 1e6:.2f}M parameters"
        ),
        Choice("model.num_attention_heads", rung.heads, "64 wide each"),
        Choice("model.num_key_value_heads", rung.key_value_heads, "shared, for a small cache"),
        Choice("model.head_dim", config.head_dim, "as is usual"),
        Choice("batch.context", rung.context, "tokens the model sees at once"),
        Choice(
            "batch.sequences", rung.sequences, f"about {max(steps, 1):,} updates fit the budget"
        ),
        Choice("run.evaluations", evaluations, f"each about {evaluation:.1f} s"),
    )
    tables: dict[str, dict[str, Any]] = {}
    for choice in choices:
        section, _, key = choice.key.partition(".")
        tables.setdefault(section, {})[key] = choice.value
    return Plan(tables, choices, speed)


def _fitting(rung: _Rung, corpus_bytes: int) -> _Rung:
    """Shrink vocabulary and context until a small corpus can fill them."""
    tokens = max(corpus_bytes / _BYTES_PER_TOKEN, 1.0)
    vocab_size, context = rung.vocab_size, rung.context
    while vocab_size > 512 and tokens < 100 * vocab_size:
        vocab_size //= 2
    while context > 16 and 0.02 * tokens < context:
        context //= 2
    return dataclasses.replace(rung, vocab_size=vocab_size, context=context)


def _config(rung: _Rung) -> ModelConfig:
    return ModelConfig(
        vocab_size=rung.vocab_size,
        hidden_size=rung.width,
        intermediate_size=max(32, round(rung.width * 8 / 3 / 32) * 32),
        num_hidden_layers=rung.layers,
        num_attention_heads=rung.heads,
        num_key_value_heads=rung.key_value_heads,
        head_dim=64,
        max_position_embeddings=rung.context,
        tie_word_embeddings=False,
    )


def _tokens_per_second(config: ModelConfig, rung: _Rung, machine: Machine) -> float:
    """Time forward and backward passes of the model on random tokens; the best of a few."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Transformer(config).to(device)
    model.initialise(torch.Generator().manual_seed(0))
    shape = (rung.sequences, rung.context + 1)
    ids = torch.randint(config.vocab_size, shape, device=device)
    best = float("inf")
    for _ in range(_TRIALS):
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=machine.bfloat16):
            logits = model.logits(model(ids[:, :-1]))
        loss = functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        loss.item()
        best = min(best, time.perf_counter() - started)
    return rung.sequences * rung.context / best
