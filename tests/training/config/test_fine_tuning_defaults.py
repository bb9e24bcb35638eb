"""Training from an ingot, from the first file to the next ingot: text, talks, preferences."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ingot.api import training
from ingot.artifact import freeze as seal
from ingot.artifact import open_ingot
from ingot.corpus import Corpus
from ingot.errors import (
    ArtifactError,
    CorpusError,
    IngotError,
    Interrupted,
    RecipeError,
    TrainingError,
)
from ingot.training.evaluation.scoring import open_model
from ingot.training.monitoring.events import Evaluated, Event, Sampled, Started, Stepped
from ingot.training.run_folder import checkpoint
from ingot.training.run_folder.run import open_run
from ingot.training.run_folder.trained_weights import trained_weights

NewRun = Callable[..., Any]
QUICK = ("run.evaluations=1", "batch.sequences=4", "run.measure_peak=false", "run.samples=1")


@pytest.fixture(scope="module")
def base(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of source code, sealed."""
    folder = tmp_path_factory.mktemp("base")
    sizes = "hidden_size=32 intermediate_size=64 num_hidden_layers=2 head_dim=16"
    settings = [f"model.{size}" for size in sizes.split()]
    settings += ["model.num_attention_heads=2", "model.num_key_value_heads=1", "batch.context=64"]
    settings += ["run.steps=40", "run.evaluations=1", "run.measure_peak=false"]
    run = training.train(corpus.path, out=folder / "run", settings=settings)
    training.freeze(run.path, folder / "base.ingot").close()
    return folder / "base.ingot"


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions with one right answer each."""
    path = tmp_path_factory.mktemp("talks") / "talks.jsonl"
    answers = ("yes", "no", "maybe")
    lines = [
        [
            {"role": "user", "content": f"say {answers[number % 3]}"},
            {"role": "assistant", "content": answers[number % 3] * (1 + number % 2)},
        ]
        for number in range(60)
    ]
    path.write_text("".join(json.dumps({"messages": line}) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    lines = [
        {"prompt": f"x{number} = ", "chosen": "None", "rejected": "self"} for number in range(40)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def watched() -> tuple[list[Event], training.Callbacks]:
    events: list[Event] = []
    return events, training.Callbacks(on_event=events.append)


def weights_of(model: Path) -> dict[str, torch.Tensor]:
    return dict(open_model(model)[0].state_dict())


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Stepped)]


def test_more_text_continues_where_the_ingot_was(base: Path, source: Path, tmp_path: Path) -> None:
    events, callbacks = watched()
    settings = ["run.steps=10", *QUICK]
    run = training.train(
        source / "corpus", out=tmp_path / "run", start=base, settings=settings, callbacks=callbacks
    )
    assert losses(events)[0] < 4.5  # a fresh model of 384 tokens would begin at 5.95
    with training.freeze(run.path, tmp_path / "next.ingot") as ingot, open_ingot(base) as parent:
        assert ingot.manifest.provenance.parent == parent.digest
        assert ingot.tokenizer.to_json() == parent.tokenizer.to_json()
        assert ingot.config == parent.config


@pytest.mark.parametrize("lora", [False, True])
def test_talks_are_learned(base: Path, talks: Path, tmp_path: Path, lora: bool) -> None:
    events, callbacks = watched()
    settings = ["run.epochs=6", "run.evaluations=3", "batch.sequences=4", "run.samples=1"]
    settings += ["run.measure_peak=false"]
    settings += ["lora.rank=4", "optimizer.adapter_lr=0.01"] if lora else []
    run = training.train(
        talks,
        out=tmp_path / "run",
        start=base,
        task="chat",
        settings=settings,
        callbacks=callbacks,
    )
    judged = [event for event in events if isinstance(event, Evaluated)]
    # A held-out conversation differs from all others here, so its loss need not fall.
    assert len(judged) >= 3
    assert all(0 < event.loss < 10 for event in judged)
    assert losses(events)[-1] < 0.8 * losses(events)[0]
    assert judged[-1].bits_per_byte is not None
    training.freeze(run.path, tmp_path / "talker.ingot").close()
    tuned, before = weights_of(tmp_path / "talker.ingot"), weights_of(base)
    assert tuned.keys() == before.keys()
    changed = {name for name in tuned if not torch.equal(tuned[name], before[name])}
    if lora:
        assert changed == {name for name in tuned if "_proj" in name}
    else:
        # A norm's weight near 1 may be rounded to the bfloat16 that it was before.
        assert {name for name in tuned.keys() - changed if "norm" not in name} == set()


def test_an_adapter_can_be_kept(base: Path, talks: Path, tmp_path: Path) -> None:
    settings = ["run.steps=3", "lora.rank=4", *QUICK]
    run = training.train(
        talks, out=tmp_path / "run", start=base, task="chat", settings=settings
    ).path
    training.adapter(run, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["peft_type"]) == (4, "LORA")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    further = [*settings, f"lora.start={tmp_path / 'adapter'}", "run.steps=1"]
    again = training.train(talks, out=tmp_path / "again", start=base, task="chat", settings=further)
    with pytest.raises(RecipeError, match=r"--set 'lora\.rank=4'"):
        training.train(
            talks,
            out=tmp_path / "other",
            start=base,
            task="chat",
            settings=[*further, "lora.rank=8"],
        )
    shutil.rmtree(tmp_path / "adapter")  # of a run that has begun, the checkpoints hold it
    assert training.resume(again).result.steps == 1
    training.adapter(run, tmp_path / "adapter")
    with pytest.raises(IngotError, match="holds something else"):
        training.adapter(run, talks.parent)


def test_preferences_move_the_model(base: Path, pairs: Path, tmp_path: Path) -> None:
    events, callbacks = watched()
    settings = ["run.steps=12", *QUICK, "optimizer.method=adamw", "optimizer.matrix_lr=0.003"]
    run = training.train(
        pairs,
        out=tmp_path / "run",
        start=base,
        task="preference",
        settings=settings,
        callbacks=callbacks,
    )
    assert losses(events)[0] == pytest.approx(0.6931, abs=1e-3)  # no difference yet: log 2
    assert run.result.validation_loss < 0.5
    assert run.result.bits_per_byte is None


@pytest.mark.parametrize("task", ["chat", pytest.param("preference", marks=pytest.mark.long)])
def test_an_interrupted_run_continues_to_the_bit(
    base: Path, talks: Path, pairs: Path, tmp_path: Path, task: Any
) -> None:
    data = talks if task == "chat" else pairs
    settings = ["run.steps=9", "lora.rank=4", *QUICK]
    whole = training.train(data, out=tmp_path / "whole", start=base, task=task, settings=settings)
    callbacks = training.Callbacks(
        on_event=lambda event: (
            callbacks.interrupted.set() if isinstance(event, Stepped) and event.step == 4 else None
        )
    )
    with pytest.raises(Interrupted):
        training.train(
            data,
            out=tmp_path / "parts",
            start=base,
            task=task,
            settings=settings,
            callbacks=callbacks,
        )
    parts = training.resume(tmp_path / "parts")
    one, other = (
        trained_weights(open_run(run.path), checkpoint.latest(run.path)) for run in (whole, parts)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert whole.result.validation_loss == parts.result.validation_loss


@pytest.mark.parametrize("task", ["chat", "preference"])
def test_an_update_waits_for_no_value(
    base: Path, talks: Path, pairs: Path, tmp_path: Path, task: Any, waits: Any
) -> None:
    data = talks if task == "chat" else pairs
    settings = ["run.steps=2", *QUICK]
    run = training.train(data, out=tmp_path / "run", start=base, task=task, settings=settings)
    assert run.result.steps == 2
    assert not waits.seen


def test_what_does_not_fit_is_refused(
    base: Path, corpus: Corpus, talks: Path, pairs: Path, source: Path, tmp_path: Path
) -> None:
    out, quick = tmp_path / "run", ["run.steps=1", *QUICK]
    with pytest.raises(RecipeError, match="name an ingot"):
        training.train(talks, out=out, task="chat", settings=quick)
    with pytest.raises(RecipeError, match="name an ingot"):
        training.train(source, out=out, settings=[*quick, "lora.rank=4"])
    with pytest.raises(RecipeError, match=r"model\.hidden_size: is 64 in the recipe, but 32"):
        training.train(corpus.path, out=out, start=base, settings=[*quick, "model.hidden_size=64"])
    with pytest.raises(CorpusError, match=r"talks\.jsonl:1: .*chosen"):
        training.train(talks, out=tmp_path / "a", start=base, task="preference", settings=quick)
    with pytest.raises(CorpusError, match=r"pairs\.jsonl:1: .*messages"):
        training.train(pairs, out=tmp_path / "b", start=base, task="chat", settings=quick)
    with pytest.raises(CorpusError, match="does not exist"):
        training.train(
            tmp_path / "none.jsonl", out=tmp_path / "c", start=base, task="chat", settings=quick
        )
    with pytest.raises(ArtifactError):
        training.train(
            talks, out=tmp_path / "d", start=tmp_path / "none", task="chat", settings=quick
        )
    with pytest.raises(RecipeError, match=r"task\.kind"):
        training.train(talks, out=tmp_path / "e", start=base, task="dance", settings=quick)  # type: ignore[arg-type]


def test_data_that_changed_is_refused_on_resume(base: Path, talks: Path, tmp_path: Path) -> None:
    data = shutil.copy(talks, tmp_path / "talks.jsonl")
    run = training.train(
        data, out=tmp_path / "run", start=base, task="chat", settings=["run.steps=1", *QUICK]
    )
    data.write_text(data.read_text().splitlines(keepends=True)[0])
    with pytest.raises(TrainingError, match=r"changed since the run began .its digest was"):
        training.resume(run.path)


def test_documents_kept_apart_are_another_loss(corpus: Corpus, tmp_path: Path) -> None:
    lost = []
    for apart in ("false", "true"):
        events, callbacks = watched()
        settings = ["run.steps=3", f"task.separate_documents={apart}", "run.warm_start=false"]
        settings += ["batch.context=2048", "model.hidden_size=16", "optimizer.method=adamw"]
        settings += ["model.num_hidden_layers=1", "model.num_attention_heads=1"]
        settings += ["model.num_key_value_heads=1", *QUICK]
        training.train(corpus.path, out=tmp_path / apart, settings=settings, callbacks=callbacks)
        lost.append(losses(events))
    assert lost[0][0] == pytest.approx(lost[1][0], rel=1e-6)  # at first no block does anything
    assert lost[0][2] != pytest.approx(lost[1][2], rel=1e-6)


def test_passes_of_unequal_numbers_of_answers_count_by_the_answers(
    base: Path, tmp_path: Path
) -> None:
    """A mean of the passes' means would weigh an answer of one word as one of thirty."""
    lines = [
        [
            {"role": "user", "content": f"count to {number}"},
            {"role": "assistant", "content": " ".join(map(str, range(1 + number % 30)))},
        ]
        for number in range(60)
    ]
    data = tmp_path / "talks.jsonl"
    data.write_text("".join(json.dumps({"messages": line}) + "\n" for line in lines))
    first: list[Stepped] = []
    for sequences, passes in ((8, 1), (2, 4)):
        events, callbacks = watched()
        settings = [f"batch.sequences={sequences}", f"batch.accumulation={passes}"]
        settings += ["run.steps=1", "run.precision=float32", "run.evaluations=1"]
        settings += ["run.measure_peak=false"]
        out = tmp_path / str(passes)
        training.train(
            data, out=out, start=base, task="chat", settings=settings, callbacks=callbacks
        )
        first.append(next(event for event in events if isinstance(event, Stepped)))
    assert first[1].loss == pytest.approx(first[0].loss, rel=1e-6)
    assert first[1].gradient_norm == pytest.approx(first[0].gradient_norm, rel=1e-6)


def test_conversations_that_were_cut_are_told(base: Path, talks: Path, tmp_path: Path) -> None:
    data = tmp_path / "talks.jsonl"
    long = {"role": "assistant", "content": "no " * 500}
    line = json.dumps({"messages": [{"role": "user", "content": "talk"}, long]})
    data.write_text(talks.read_text() + line + "\n")
    events, callbacks = watched()
    settings = ["run.steps=1", *QUICK]
    training.train(
        data, out=tmp_path / "run", start=base, task="chat", settings=settings, callbacks=callbacks
    )
    note = next(event.note for event in events if isinstance(event, Started))
    assert note.endswith("too long for the context: 1 conversations were cut, 0 left out")


def test_a_model_with_a_sliding_window_is_gone_on_with(
    base: Path, corpus: Corpus, tmp_path: Path
) -> None:
    settings = ["run.steps=2", "model.sliding_window=8", "batch.context=64", *QUICK]
    settings += ["model.hidden_size=32", "model.num_hidden_layers=1", "model.head_dim=16"]
    first = training.train(corpus.path, out=tmp_path / "first", settings=settings)
    training.freeze(first.path, tmp_path / "narrow.ingot").close()
    second = training.train(
        corpus.path,
        out=tmp_path / "second",
        start=tmp_path / "narrow.ingot",
        settings=["run.steps=1", *QUICK],
    )
    assert second.recipe.model.sliding_window == 8


def test_text_that_is_in_no_file_is_built_first(tmp_path: Path) -> None:
    for text in ("-", "hf:someone/something"):
        with pytest.raises(CorpusError, match=r"ingot data build .* --out my_corpus"):
            training.train(text, out=tmp_path / "run", budget="10s")


@pytest.fixture(scope="module")
def padded(base: Path) -> Path:
    """The same model with 64 rows more than tokens, as most published ones have."""
    out = base.parent / "padded.ingot"
    noise = np.random.default_rng(0)
    with open_ingot(base) as ingot:
        weights = dict(ingot.float32())
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            rows = noise.normal(size=(64, ingot.config.hidden_size)).astype(np.float32)
            weights[name] = np.concatenate((weights[name], rows))
        config = dataclasses.replace(ingot.config, vocab_size=ingot.config.vocab_size + 64)
        seal(weights, config, ingot.tokenizer, out, provenance=ingot.manifest.provenance).close()
    return out


@pytest.mark.parametrize("task", ["text", "chat", "preference"])
def test_a_padded_vocabulary_is_tuned_as_if_it_had_no_padding(
    task: Any,
    base: Path,
    padded: Path,
    talks: Path,
    pairs: Path,
    source: Path,
    tmp_path: Path,
) -> None:
    """FAULTS D14: rows beyond the tokenizer's are in no loss, no evaluation and no sample."""
    data = {"text": source / "errors.py", "chat": talks, "preference": pairs}[task]
    seen = []
    for start in (base, padded):
        events, callbacks = watched()
        run = training.train(
            data,
            out=tmp_path / start.stem,
            start=start,
            task=task,
            settings=["run.steps=4", "run.precision=float32", *QUICK],
            callbacks=callbacks,
        )
        told = [event for event in events if isinstance(event, Evaluated | Sampled | Stepped)]
        seen.append(
            [(event.text,) if isinstance(event, Sampled) else (event.loss,) for event in told]
        )
        scored = training.evaluate(run, source / "files.py").loss
        with training.freeze(run, tmp_path / f"{start.stem}.ingot") as tuned:
            last = dict(tuned.float32())["lm_head.weight"][-64:].copy()
        seen[-1].append((scored,))
    assert seen[0] == seen[1]
    with open_ingot(padded) as before:
        assert np.array_equal(dict(before.float32())["lm_head.weight"][-64:], last)


def test_fewer_rows_than_tokens_are_refused(base: Path, talks: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"model\.vocab_size: is 300, and the tokenizer has 384"):
        training.train(
            talks,
            out=tmp_path / "run",
            start=base,
            task="chat",
            settings=["run.steps=1", "model.vocab_size=300", *QUICK],
        )


@pytest.mark.parametrize("held_out", [None, 0])
def test_two_conversations_are_enough_to_learn_from(
    held_out: int | None, base: Path, tmp_path: Path
) -> None:
    """FAULTS D6: enough updates for small data, and an honest account of them at the end."""
    data = tmp_path / "two.jsonl"
    lines = [
        [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        for asked, answer in (("hello", "good day to you"), ("bye", "see you tomorrow"))
    ]
    data.write_text("".join(json.dumps({"messages": line}) + "\n" for line in lines))
    events, callbacks = watched()
    settings = ["run.evaluations=2", "run.measure_peak=false", "run.samples=1"]
    settings += [] if held_out is None else [f"task.held_out={held_out}"]
    run = training.train(
        data, out=tmp_path / "run", start=base, task="chat", settings=settings, callbacks=callbacks
    )
    told = run.result.told()
    steps = [event for event in events if isinstance(event, Stepped)]
    assert len(steps) == run.result.steps >= 40
    assert all(event.seconds_left >= 0 for event in steps)
    assert told == (
        f"{run.result.steps} updates, training loss "
        f"from {steps[0].loss:.3f} to {steps[-1].loss:.3f}"
    )
    assert steps[-1].loss < 0.5 * steps[0].loss
    note = next(event.note for event in events if isinstance(event, Started))
    assert ("scores are of the training examples" in note) == (held_out == 0)
    if held_out == 0:
        assert run.result.validation_loss < 0.5 * steps[0].loss


def test_one_update_is_not_said_to_have_learned(base: Path, talks: Path, tmp_path: Path) -> None:
    """FAULTS D6: a run that learned nothing says so."""
    run = training.train(
        talks, out=tmp_path / "run", start=base, task="chat", settings=["run.steps=1", *QUICK]
    )
    assert run.result.told().startswith("1 update, training loss did not fall (from ")


def test_an_example_that_cannot_be_held_out_can_be_trained_on(base: Path, tmp_path: Path) -> None:
    """FAULTS D6: the hint is one that can be followed."""
    data = tmp_path / "one.jsonl"
    data.write_text(json.dumps({"prompt": "a", "chosen": "good", "rejected": "bad"}) + "\n")
    arguments: dict[str, Any] = {"start": base, "task": "preference"}
    with pytest.raises(CorpusError, match=r"train on all of them with: --set task\.held_out=0"):
        training.train(data, out=tmp_path / "no", settings=[*QUICK, "run.steps=2"], **arguments)
    settings = [*QUICK, "run.steps=2", "task.held_out=0"]
    assert (
        training.train(data, out=tmp_path / "yes", settings=settings, **arguments).result.steps == 2
    )
