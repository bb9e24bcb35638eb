"""Scoring any text with a run or an ingot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ingot.artifact import open_ingot, widen_to_float32
from ingot.corpus import ReadReport, iter_documents
from ingot.errors import CorpusError, UsageError
from ingot.model import ModelConfig, Tokenizer
from ingot.model.transformer import Transformer
from ingot.training import checkpoint
from ingot.training.evaluate import Evaluation, evaluate
from ingot.training.precision import Precision
from ingot.training.run import RECORD, open_run


class _Tokens:
    """Tokens in memory, read as a corpus is."""

    def __init__(self, ids: list[int]) -> None:
        self._ids = np.asarray(ids, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def read(self, start: int, count: int) -> NDArray[np.int64]:
        return self._ids[start : start + count]


def score(path: Path, texts: Sequence[Path] | None) -> Evaluation:
    """Score the run or ingot at ``path`` on texts, or a run on its own held-out text.

    Raises:
        UsageError: an ingot without texts; it does not carry its held-out text.
        CorpusError: the texts cannot be read or are empty.
    """
    precision = Precision.choose()
    if (path / RECORD).is_file():
        run = open_run(path)
        model = _model(run.model_config, checkpoint.read_weights(checkpoint.best(path)))
        if texts is None:
            corpus = run.corpus
            size = corpus.manifest.validation.bytes
            return evaluate(
                model.to(precision.device), corpus.validation, size, precision=precision
            )
        tokenizer = run.tokenizer
    elif texts is None:
        raise UsageError(
            "an ingot does not carry its held-out text", where=path, fix="name texts to score"
        )
    else:
        with open_ingot(path) as ingot:
            weights = {
                name: torch.from_numpy(
                    widen_to_float32(tensor.array())
                    if tensor.dtype == "BF16"
                    else tensor.array().copy()
                )
                for name, tensor in ingot.tensors.items()
            }
        model, tokenizer = _model(ingot.config, weights), ingot.tokenizer
    ids, size = _tokens(tokenizer, texts)
    return evaluate(model.to(precision.device), _Tokens(ids), size, precision=precision)


def _model(config: ModelConfig, weights: dict[str, torch.Tensor]) -> Transformer:
    model = Transformer(config)
    model.load_state_dict(weights)
    return model


def _tokens(tokenizer: Tokenizer, texts: Sequence[Path]) -> tuple[list[int], int]:
    ids, size = [tokenizer.eos_id], 0
    for document in iter_documents(texts, ReadReport()):
        ids += [*tokenizer.encode(document.text), tokenizer.eos_id]
        size += len(document.text.encode())
    if not size:
        raise CorpusError("holds no text", where=texts[0], fix="name a file with text in it")
    return ids, size
