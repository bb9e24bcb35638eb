"""The loss over a whole stream of tokens, each predicted exactly once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ingot.errors import CorpusError
from ingot.model.transformer import Transformer
from ingot.training.compute.attention import attention_for
from ingot.training.compute.precision import Precision

_TOKENS_AT_ONCE = 4096
_LONGEST = 4096  # tokens in a sequence: attention takes its square


class EvaluationStopped(Exception):  # noqa: N818 (requested, so not an error)
    """An evaluation that was asked to stop; it has no result."""


def never() -> bool:
    """Return False: nothing asks an evaluation to stop."""
    return False


class Tokens(Protocol):
    """A stream of token ids, as a corpus's split is one."""

    def __len__(self) -> int:
        """Return how many there are."""

    def read(self, start: int, count: int) -> NDArray[np.int64]:
        """Return ``count`` of them from ``start`` on."""


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts a text."""

    loss: float
    """Nats per token."""
    perplexity: float
    bits_per_byte: float
    """Bits needed per byte of UTF-8 text; comparable across tokenizers and with compressors."""
    tokens: int
    bytes: int
    seconds: float
    left_out: tuple[str, ...] = ()
    """What was named but not scored: a line for each reason."""


@torch.no_grad()  # inference mode is not for weights that are cut among processes
def evaluate(
    model: Transformer,
    store: Tokens,
    text_bytes: int,
    *,
    precision: Precision,
    overlap: float = 0.5,
    context: int | None = None,
    stop: Callable[[], bool] = never,
) -> Evaluation:
    """Score every token of ``store`` but its first, which only gives context.

    ``overlap`` is the share of each
    sequence that repeats the one before as context: at 0 a token sees half a
    sequence on average; at 0.5 it sees at least half of one, at twice the cost.

    Args:
        model: The model, on any device.
        store: The tokens.
        text_bytes: UTF-8 bytes of the text the tokens stand for.
        precision: The arithmetic to use.
        overlap: In [0, 1).
        context: Tokens in a sequence; None takes the model's context, at most 4,096.
        stop: Asked before each batch whether to stop.

    Raises:
        CorpusError: there is no token to predict.
        EvaluationStopped: ``stop`` returned True.
    """
    predicted = len(store) - 1
    if predicted < 1 or text_bytes < 1:
        raise CorpusError("there is no text to evaluate on", fix="give a longer text")
    context = context or min(model.config.max_position_embeddings, _LONGEST)
    stride = max(1, round(context * (1 - overlap)))
    device = model.head_weight.device
    started = time.perf_counter()
    total = torch.zeros((), dtype=torch.float64)
    for sequences, fresh in _sequences(store, predicted, context, stride):
        if stop():
            raise EvaluationStopped
        with precision.autocast():
            ids = sequences[:, :-1].to(device)
            hidden = model(ids, attend=attention_for(model.config, ids, None))[:, -fresh:]
            logits = model.logits(hidden).float()
        targets = sequences[:, -fresh:].to(device)
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        total += loss.cpu().double()
    loss_per_token = total.item() / predicted
    return Evaluation(
        loss=loss_per_token,
        perplexity=math.exp(min(loss_per_token, 700.0)),
        bits_per_byte=total.item() / math.log(2) / text_bytes,
        tokens=predicted,
        bytes=text_bytes,
        seconds=time.perf_counter() - started,
    )


def _sequences(
    store: Tokens, predicted: int, context: int, stride: int
) -> Iterator[tuple[Tensor, int]]:
    """Yield (ids (B, T+1), number of last positions that are new): full batches, then odd ends."""
    first = min(context, predicted)
    yield _read(store, [0], first), first
    ends = range(first + stride, predicted + 1, stride)
    at_once = max(1, _TOKENS_AT_ONCE // context)
    for start in range(0, len(ends), at_once):
        batch = ends[start : start + at_once]
        yield _read(store, [end - context for end in batch], context), stride
    done = ends[-1] if ends else first
    if done < predicted:
        length = min(context, predicted)
        yield _read(store, [predicted - length], length), predicted - done


def _read(store: Tokens, starts: list[int], length: int) -> Tensor:
    return torch.stack([torch.from_numpy(store.read(start, length + 1)) for start in starts])
