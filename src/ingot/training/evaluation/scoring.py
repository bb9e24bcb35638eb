"""Scoring any text with a run or an ingot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ingot.artifact import open_ingot
from ingot.corpus import ReadReport, iter_documents
from ingot.errors import CorpusError, UsageError
from ingot.model import ModelConfig, Tokenizer
from ingot.model.transformer import Transformer
from ingot.training.compute.fused_modules import fuse
from ingot.training.compute.precision import Precision
from ingot.training.evaluation.evaluate import Evaluation, Tokens, evaluate
from ingot.training.run_folder import checkpoint
from ingot.training.run_folder.run import RECORD, open_pretraining_run, open_run
from ingot.training.run_folder.trained_weights import trained_weights


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
    precision, report = Precision.choose(), ReadReport()
    if texts is None:
        if not (path / RECORD).is_file():
            raise UsageError(
                "an ingot does not carry its held-out text", where=path, fix="name texts to score"
            )
        corpus = open_pretraining_run(path).open_corpus()
        tokens: Tokens = corpus.validation
        size = corpus.manifest.validation.bytes
        model, _ = open_model(path)
    else:
        model, tokenizer = open_model(path)
        tokens, size = read_tokens(tokenizer, texts, report)
    fuse(model.to(precision.device), precision)
    scored = evaluate(model, tokens, size, precision=precision)
    return replace(scored, left_out=tuple(report.explained()))


def open_model(path: Path) -> tuple[Transformer, Tokenizer]:
    """Return model and tokenizer of a run, at its best checkpoint, or of an ingot; on the CPU.

    Raises:
        TrainingError: the run's checkpoint is missing or damaged.
        ArtifactError: the ingot is missing, malformed or fails a digest.
    """
    if (path / RECORD).is_file():
        run = open_run(path)
        weights = trained_weights(run, checkpoint.best(path))
        return _model(run.model_config, weights, run.tokenizer), run.tokenizer
    with open_ingot(path) as ingot:
        weights = {name: torch.from_numpy(values.copy()) for name, values in ingot.float32()}
        return _model(ingot.config, weights, ingot.tokenizer), ingot.tokenizer


def _model(
    config: ModelConfig, weights: dict[str, torch.Tensor], tokenizer: Tokenizer
) -> Transformer:
    model = Transformer(config)
    model.tokens = tokenizer.vocab_size
    model.load_state_dict(weights)
    return model


def read_tokens(
    tokenizer: Tokenizer, texts: Sequence[Path], report: ReadReport
) -> tuple[Tokens, int]:
    """Return the tokens of texts, each after an end of text, and their bytes.

    Args:
        tokenizer: The model's.
        texts: Files and folders.
        report: Counts what is read and what is left out.

    Raises:
        CorpusError: the texts cannot be read or are empty.
    """
    ids, size = [tokenizer.eos_id], 0
    for document in iter_documents(texts, report):
        ids += [*tokenizer.prefix, *tokenizer.encode(document.text), tokenizer.eos_id]
        size += len(document.text.encode())
    if not size:
        left_out = report.summary()
        raise CorpusError(
            f"holds no text{f': {left_out}' if left_out else ''}",
            where=texts[0],
            fix="name a file with text in it",
        )
    return _Tokens(ids), size
