from __future__ import annotations

import hashlib
from pathlib import Path

from ingot.api.inference import Model
from ingot.artifact import open_ingot
from ingot.lesson.experiments.full_size import (
    intact_tensors,
    memory_digest,
    trace_inference,
    trace_update,
)
from ingot.training.run_folder.run import open_pretraining_run, open_run


def digest_of(folder: Path) -> str:
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sha.update(path.read_bytes())
    return sha.hexdigest()


def test_an_update_changes_the_weights_and_lowers_the_loss(trained: Path) -> None:
    before = digest_of(trained)
    shown = trace_update(trained)
    assert shown.digest_before != shown.digest_after
    assert 0 < shown.changed <= shown.weights == open_run(trained).model_config.parameters
    assert shown.loss_after < shown.loss_before
    assert all(0 <= guess.before <= 1 and 0 <= guess.after <= 1 for guess in shown.guesses)
    text = open_pretraining_run(trained).open_corpus().train
    ids = text.read(1, 64).tolist()
    written = open_run(trained).tokenizer.decode(ids)
    assert written.startswith(shown.context + "".join(guess.token for guess in shown.guesses))
    assert digest_of(trained) == before  # the run itself is left alone


def test_asking_changes_no_weight(model: Model) -> None:
    asked = trace_inference(model, "def ", questions=3, tokens=8)
    assert asked.digest_before == asked.digest_after
    assert asked.intact == asked.tensors == len(model.ingot.manifest.tensors)
    assert "read-only" in asked.refusal
    assert len(asked.likeliest) == 3
    assert sum(share for _, share in asked.likeliest) <= 1


def test_a_changed_weight_is_counted(sealed: Path) -> None:
    with open_ingot(sealed) as ingot:
        digest = memory_digest(ingot)
        name = next(iter(ingot.tensors))
        stored = ingot.tensors[name]
        other = type(stored)(
            name, stored.dtype, stored.shape, memoryview(bytes(stored.data.nbytes))
        )
        ingot.tensors = {**ingot.tensors, name: other}
        assert intact_tensors(ingot) == len(ingot.tensors) - 1
        assert memory_digest(ingot) != digest
