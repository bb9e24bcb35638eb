from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingot.artifact import Provenance, freeze
from ingot.corpus import Corpus
from ingot.errors import ArtifactError, CorpusError, UsageError
from ingot.training.config.recipe import Recipe
from ingot.training.evaluation.scoring import open_model, score
from ingot.training.run_folder import checkpoint, checkpoint_tensors
from ingot.training.run_folder.run import Run


@pytest.fixture
def run(new_run: Callable[..., Run], recipe: Callable[..., Recipe], watched: Any) -> Run:
    run = new_run(recipe(run={"steps": 1, "evaluations": 1}))
    watched.train(run)
    return run


@pytest.fixture
def sealed(run: Run, tmp_path: Path) -> Path:
    weights = checkpoint_tensors.read_weights(checkpoint.best(run.path))
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}
    path = tmp_path / "sealed.ingot"
    provenance = Provenance()
    freeze(
        arrays, run.model_config, run.tokenizer, path, provenance=provenance, dtype="float32"
    ).close()
    return path


def test_a_run_and_its_ingot_score_alike(run: Run, sealed: Path, source: Path) -> None:
    texts = [source / "errors.py"]
    of_run, of_ingot = score(run.path, texts), score(sealed, texts)
    assert of_run.loss == pytest.approx(of_ingot.loss, rel=1e-6)
    assert of_run.bytes == of_ingot.bytes == (source / "errors.py").stat().st_size


def test_a_run_scores_its_own_held_out_text(run: Run, corpus: Corpus) -> None:
    scored = score(run.path, None)
    assert scored.bytes == corpus.manifest.validation.bytes
    assert scored.tokens == len(corpus.validation) - 1


def test_an_ingot_needs_texts(sealed: Path) -> None:
    with pytest.raises(UsageError, match="does not carry its held-out text"):
        score(sealed, None)


def test_a_text_without_text_is_refused(run: Run, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    with pytest.raises(CorpusError, match="holds no text"):
        score(run.path, [empty])


def test_what_is_neither_run_nor_ingot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        open_model(tmp_path)
