from __future__ import annotations

from pathlib import Path

import pytest

from ingot.api.inference import Model
from ingot.errors import ArtifactError
from ingot.lesson.experiments.full_size import weights_digest
from ingot.lesson.experiments.phases import Phases, measure_phases
from ingot.lesson.report.tables import phase_rows
from ingot.training.run_folder import checkpoint, checkpoint_tensors


def test_one_phase_changes_the_weights_and_the_other_does_not(
    measured: Phases, trained: Path
) -> None:
    stored = checkpoint_tensors.read_weights(checkpoint.best(trained))
    assert measured.training_digests[0] == weights_digest(stored) != measured.training_digests[1]
    assert measured.inference_digests[0] == measured.inference_digests[1]


def test_memory_is_what_the_parameters_need(measured: Phases) -> None:
    assert measured.weight_bytes == measured.gradient_bytes == 4 * measured.parameters
    assert measured.served_bytes == 2 * measured.parameters
    assert measured.optimizer_bytes >= 4 * measured.parameters  # one moment or two for each
    hidden, layers, context = 64, 2, measured.context
    assert measured.activation_bytes > 4 * hidden * layers * context
    assert measured.kv_bytes == 2 * layers * 32 * 2


def test_work_and_cost(measured: Phases) -> None:
    assert measured.training_flops == 3 * measured.inference_flops
    assert [speed.batch for speed in measured.training_speeds] == [1, 4, 16]
    for speed in measured.training_speeds:
        assert speed.tokens_per_second == pytest.approx(
            1000 * speed.batch * measured.context / speed.milliseconds
        )
    assert measured.break_even == measured.training_seconds / measured.answer_seconds
    names = [name for name, _, _ in phase_rows(measured)]
    assert names[0] == "weights"
    assert "16 at once" in names


def test_an_ingot_of_another_run_is_refused(model: Model, tmp_path: Path, trained: Path) -> None:
    other = tmp_path / "run"
    other.mkdir()
    for path in trained.iterdir():
        if path.is_file():
            (other / path.name).write_bytes(path.read_bytes())
    record = other / "run.json"
    text = record.read_text()
    digest = model.ingot.manifest.provenance.corpus_digest
    assert digest is not None
    record.write_text(text.replace(digest, "0" * 64))
    with pytest.raises(ArtifactError, match="was not sealed from"):
        measure_phases(other, model)
