"""A run's folder, as it was made and as a stranger may have changed it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.corpus import Corpus
from ingot.errors import IngotError, RecipeError, TrainingError
from ingot.model.generation_config import GenerationDefaults
from ingot.model.tokenizer_files import read_tokenizer
from ingot.training.config.recipe import Recipe
from ingot.training.data.records import data_digest
from ingot.training.run_folder.run import (
    FineTuningRecord,
    FineTuningRun,
    PretrainingRecord,
    PretrainingRun,
    changes,
    create_run,
    edited_recipe,
    open_pretraining_run,
    open_run,
)
from tests.model.published_tokenizers import files

NewRun = Callable[..., PretrainingRun]
MakeRecipe = Callable[..., Recipe]


def test_a_run_on_a_corpus_is_opened_as_one(new_run: NewRun, recipe: MakeRecipe) -> None:
    made = new_run(recipe())
    opened = open_run(made.path)
    assert isinstance(opened, PretrainingRun)
    assert opened.record == made.record
    assert opened.recipe == recipe()
    assert opened.open_corpus().manifest.digest == opened.record.corpus_digest
    assert open_pretraining_run(made.path).record == made.record


def test_a_run_on_examples_is_opened_as_one(
    corpus: Corpus, recipe: MakeRecipe, tmp_path: Path
) -> None:
    data = tmp_path / "talks.jsonl"
    data.write_text("{}\n")
    record = FineTuningRecord(
        data=(str(data),), corpus_digest=data_digest([data]), code_version="test"
    )
    create_run(tmp_path / "run", recipe(), corpus.tokenizer, record)
    run = open_run(tmp_path / "run")
    assert isinstance(run, FineTuningRun)
    assert run.open_data() == [data]
    data.write_text("[]\n")
    with pytest.raises(TrainingError, match="changed since the run began"):
        run.open_data()
    with pytest.raises(TrainingError, match="has no corpus"):
        open_pretraining_run(tmp_path / "run")


def test_an_edited_recipe_is_not_the_one_that_is_followed(
    new_run: NewRun, recipe: MakeRecipe
) -> None:
    run = new_run(recipe())
    recipe(run={"steps": 99}).save(run.path / "recipe.toml")
    assert open_run(run.path).recipe == recipe()
    assert edited_recipe(run) == recipe(run={"steps": 99})
    assert changes(open_run(run.path).recipe, edited_recipe(run)) == ["run.steps: 12 is now 99"]


@pytest.mark.parametrize("name", ["run.json", "tokenizer.json", "recipe.toml"])
def test_pipes_are_refused_at_once(new_run: NewRun, recipe: MakeRecipe, name: str) -> None:
    """FAULTS B4: opening a pipe would wait for a writer."""
    run = new_run(recipe())
    (run.path / name).unlink()
    os.mkfifo(run.path / name)
    with pytest.raises(IngotError, match="is not a regular file"):
        edited_recipe(open_run(run.path))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"corpus": ""},
        {"corpus": "a\0b"},
        {"data": ["talks.jsonl"]},
        {"bytes_per_token": 1e999},
        {"bytes_per_token": 0},
        {"recipe": {"run": {"steps": 10**30}}},
        {"recipe": {"run": {"seed": 10**30, "steps": 1}}},
        {"recipe": {"model": {"rope_theta": 10**400}, "run": {"steps": 1}}},
        {"recipe": {"surprise": 1}},
        {"recipe": 7},
    ],
)
def test_a_record_of_another_shape_is_one_line(
    new_run: NewRun, recipe: MakeRecipe, change: dict[str, object]
) -> None:
    """FAULTS B5: numbers and shapes that no run writes."""
    run = new_run(recipe())
    path = run.path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises((TrainingError, RecipeError), match=r"run\.json: ") as refused:
        open_run(run.path).model_config  # noqa: B018
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["[" * 5000, "9" * 5000, "", "\x00", '{"recipe": ' + "[" * 5000])
@pytest.mark.parametrize("name", ["run.json", "tokenizer.json"])
def test_brackets_and_digits_by_the_thousand_are_one_line(
    new_run: NewRun, recipe: MakeRecipe, name: str, text: str
) -> None:
    """FAULTS B5: files that recurse or convert for ever."""
    run = new_run(recipe())
    (run.path / name).write_text(text)
    with pytest.raises(TrainingError, match="is damaged"):
        open_run(run.path)


def test_a_recipe_of_brackets_is_one_line_and_leaves_the_run_sound(
    new_run: NewRun, recipe: MakeRecipe
) -> None:
    """FAULTS B5: ``recipe.toml`` with 5,000 brackets or digits of 10^30."""
    run = new_run(recipe())
    for text in ("x = " + "[" * 5000, "[run]\nseed = 1" + "0" * 30, "[run]\nseed = " + "9" * 5000):
        (run.path / "recipe.toml").write_text(text)
        with pytest.raises(RecipeError, match=r"recipe\.toml: "):
            edited_recipe(open_run(run.path))


def test_what_is_not_a_run_is_named(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(TrainingError, match="is not a run; list your runs"):
        open_run(tmp_path)
    with pytest.raises(TrainingError, match="is a corpus, not a run; train on it first"):
        open_run(corpus.path)


def test_a_run_keeps_what_the_model_says_of_its_texts(
    corpus: Corpus, recipe: MakeRecipe, tmp_path: Path
) -> None:
    """A model that was not trained here is tuned and sealed with its own tokens and template."""
    given = files("llama3") | {
        "chat_template.jinja": b"{{ bos_token }}{{ messages }}",
        "generation_config.json": b'{"eos_token_id": [3, 5], "temperature": 0.6}',
    }
    tokenizer = read_tokenizer(given)
    defaults = GenerationDefaults.parse(given["generation_config.json"])
    record = PretrainingRecord(
        corpus=str(corpus.path),
        corpus_digest=corpus.manifest.digest,
        bytes_per_token=1.0,
        code_version="0",
    )
    run = create_run(tmp_path / "run", recipe(), tokenizer, record, defaults)
    again = open_run(run.path)
    assert again.generation == defaults
    for name in ("eos_id", "bos_id", "prefix", "stop_ids", "chat_templates", "table"):
        assert getattr(again.tokenizer, name) == getattr(tokenizer, name), name
