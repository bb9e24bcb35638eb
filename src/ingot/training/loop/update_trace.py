"""A few updates of a copy of a sealed model, each told in the order in which it happens."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ingot.artifact.inspection.weight_grid import grid_side, mean_sizes
from ingot.errors import UsageError
from ingot.model.transformer import Transformer
from ingot.training.config.optimizer import OptimizerConfig
from ingot.training.initialization.start import Start, start_from
from ingot.training.optim.optimizer import Optimizer

MOST_TOKENS = 48
"""Tokens of text that are learned from; more would not fit on a screen."""
_LR_SCALE = 0.3
"""Of the full rates: the schedule's end, where a trained model's rates stand."""

Record = dict[str, Any]


def trace_updates(path: Path, text: str, updates: int) -> Iterator[Record]:
    """Train a copy of an ingot on a little text and tell each update as it happens.

    The records are ``started``, then for each update ``predicted`` (the forward pass and the
    loss), ``compared`` (the backward pass) and ``updated`` (the optimizer's step), then ``ended``.
    Nothing is saved.

    Args:
        path: The ingot.
        text: What to learn; the first ``MOST_TOKENS`` tokens are taken.
        updates: How many updates, at least 1.

    Raises:
        ArtifactError: the ingot is missing, malformed or fails a digest.
        UsageError: the text has fewer than two tokens.
    """
    start = start_from(path)
    trace = _Trace(start, text)
    yield trace.started()
    for step in range(1, updates + 1):
        yield from trace.update(step)
    yield {"event": "ended", "tokens": trace.predict()[1], "loss": trace.loss_now()}


class _Trace:
    """The copy, its text and its optimizer."""

    def __init__(self, start: Start, text: str) -> None:
        self._start = start
        self._model = Transformer(start.config)
        self._model.load_state_dict(start.weights)
        tokenizer = start.tokenizer
        self._model.tokens = tokenizer.vocab_size  # rows that pad the table are never predicted
        ids = [*tokenizer.prefix, *tokenizer.encode(text)] or [tokenizer.start_id]
        limit = min(MOST_TOKENS, start.config.max_position_embeddings) + 1
        if len(ids) == 1:
            ids = [tokenizer.start_id, *ids]
        if len(ids) < 2 or not text:
            raise UsageError("has no token to predict", where="text", fix="write a few words")
        self._ids = torch.tensor(ids[:limit])
        self._optimizer = Optimizer(self._model, OptimizerConfig())
        self._side = grid_side(start.config.tensor_shapes())
        self._decode = tokenizer.decode

    def started(self) -> Record:
        """Return the text as tokens, and the copy that is to change."""
        weights = self._model.state_dict()
        return {
            "event": "started",
            "ingot": self._start.digest,
            "tokens": [self._decode([token]) for token in self._ids.tolist()],
            "weights": sum(tensor.numel() for tensor in weights.values()),
            "weight_bytes": _bytes(weights.values()),
            "digest": _digest(weights),
        }

    def predict(self) -> tuple[Tensor, list[Record]]:
        """Return the loss, and for each token what was predicted in its place."""
        logits = self._model.logits(self._model(self._ids[None, :-1]))[0].float()
        scored = functional.log_softmax(logits, dim=-1)
        targets = self._ids[1:]
        loss = functional.nll_loss(scored, targets)
        best = scored.detach().max(dim=-1)
        given = scored.detach().gather(1, targets[:, None])[:, 0]
        return loss, [
            {"guess": self._decode([guess]), "guess_p": guess_p, "p": p}
            for guess, guess_p, p in zip(
                best.indices.tolist(), best.values.exp().tolist(), given.exp().tolist(), strict=True
            )
        ]

    def loss_now(self) -> float:
        """Return the loss after the last update, in nats per token."""
        with torch.inference_mode():
            return self.predict()[0].item()

    def update(self, step: int) -> Iterator[Record]:
        """Make one update; yield what each of its parts did."""
        began = time.perf_counter()
        kept = _KeptActivations(self._model)
        with kept.counting():
            loss, tokens = self.predict()
        forward_s = time.perf_counter() - began
        yield {
            "event": "predicted",
            "step": step,
            "loss": loss.item(),
            "tokens": tokens,
            "activation_bytes": kept.nbytes,
            "seconds": forward_s,
        }
        began = time.perf_counter()
        loss.backward()  # type: ignore[no-untyped-call]
        backward_s = time.perf_counter() - began
        gradients = [p.grad for p in self._model.parameters() if p.grad is not None]
        yield {
            "event": "compared",
            "step": step,
            "gradient_bytes": _bytes(gradients),
            "gradient_norm": torch.nn.utils.get_total_norm(gradients).item(),
            "seconds": backward_s,
        }
        before = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}
        began = time.perf_counter()
        self._optimizer.step(_LR_SCALE)
        self._optimizer.zero_grad()
        update_s = time.perf_counter() - began
        after = self._model.state_dict()
        yield {
            "event": "updated",
            "step": step,
            "changed": sum(int((after[name] != old).sum()) for name, old in before.items()),
            "optimizer_bytes": _bytes(self._optimizer.state_tensors().values()),
            "cells": self._changes(before, after),
            "digest": _digest(after),
            "seconds": update_s,
        }

    def _changes(
        self, before: dict[str, Tensor], after: dict[str, Tensor]
    ) -> dict[str, list[float]]:
        """Return for each matrix how far the weights of each cell moved, as a share of their size.

        In rows; see ``weight_grid``.
        """
        found = {}
        for name, old in before.items():
            if old.ndim != 2:
                continue
            moved = mean_sizes((after[name] - old).numpy(), self._side)
            size = mean_sizes(old.numpy(), self._side)
            share = moved / np.maximum(size, np.finfo(np.float32).tiny)
            found[name] = [float(f"{value:.3g}") for value in share.ravel()]
        return found


class _KeptActivations:
    """Counts the bytes that the forward pass keeps for the backward pass, weights left out."""

    def __init__(self, model: Transformer) -> None:
        self._own = {p.untyped_storage().data_ptr() for p in model.state_dict().values()}
        self._kept: dict[int, int] = {}

    @property
    def nbytes(self) -> int:
        """Bytes counted so far, each storage once."""
        return sum(self._kept.values())

    def counting(self) -> torch.autograd.graph.saved_tensors_hooks:
        """Count inside the block."""
        return torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._own:
            self._kept[storage.data_ptr()] = storage.nbytes()
        return tensor


def _digest(weights: dict[str, Tensor]) -> str:
    sha = hashlib.sha256()
    for name in sorted(weights):
        sha.update(weights[name].detach().numpy().data)
    return sha.hexdigest()


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
