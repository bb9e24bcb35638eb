from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ingot.errors import RecipeError
from ingot.settings import merge_tables, setting_keys
from ingot.training.config.recipe import (
    Recipe,
    make_recipe,
    parse_overrides,
    read_recipe,
)

LENGTH = {"run": {"steps": 5}}


def test_a_saved_recipe_reads_back_the_same(tmp_path: Path) -> None:
    recipe = make_recipe(
        merge_tables(LENGTH, {"optimizer": {"betas": [0.8, 0.9], "clip_norm": 1.5}})
    )
    recipe.save(tmp_path / "recipe.toml")
    assert make_recipe(read_recipe(tmp_path / "recipe.toml")) == recipe


@pytest.mark.parametrize(
    ("tables", "suggested"),
    [
        ({"model": {"hiden_size": 64}}, "model.hidden_size"),
        ({"batch": {"muon_lr": 0.1}}, "optimizer.muon_lr"),
        ({"modle": {}}, '"model"'),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_named(
    tables: dict[str, dict[str, float]], suggested: str
) -> None:
    with pytest.raises(RecipeError, match="unknown setting") as caught:
        make_recipe(merge_tables(LENGTH, tables))
    assert suggested in str(caught.value)


@pytest.mark.parametrize(
    "setting",
    [
        "optimizer.muon_lr=0",
        "optimizer.muon_lr=-1",
        "optimizer.muon_lr=1e9",
        "optimizer.muon_lr=NaN",
        "model.hidden_size=many",
        "model.head_dim=15",
        "model.num_key_value_heads=3",
        "batch.context=0",
        "run.seed=-1",
        "schedule.shape=square",
    ],
)
def test_a_value_out_of_range_is_refused_by_name(setting: str) -> None:
    key = setting.partition("=")[0]
    with pytest.raises(RecipeError) as caught:
        make_recipe(merge_tables(LENGTH, parse_overrides([setting])))
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("run", [{}, {"steps": 3, "budget_seconds": 3.0}])
def test_the_length_is_given_exactly_once(run: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="exactly one of"):
        make_recipe({"run": run})


@pytest.mark.parametrize(
    ("setting", "fix"),
    [
        ("hidden_size=3", "write --set model.hidden_size=3"),
        ("model.hidden_size", "section.key=value"),
        ("=", "section.key=value"),
        (".=3", "section.key=value"),
        ("zzzz=3", "section.key=value"),
    ],
)
def test_a_malformed_setting_is_refused(setting: str, fix: str) -> None:
    with pytest.raises(RecipeError, match=fix):
        parse_overrides([setting])


def test_overrides_read_numbers_words_and_lists() -> None:
    settings = ["model.hidden_size=64", "schedule.shape=cosine", "optimizer.betas=[0.8, 0.9]"]
    assert parse_overrides(settings) == {
        "model": {"hidden_size": 64},
        "schedule": {"shape": "cosine"},
        "optimizer": {"betas": [0.8, 0.9]},
    }


def test_later_tables_win_key_by_key() -> None:
    merged = merge_tables({"a": {"x": 1, "y": 1}}, {"a": {"y": 2}}, {"b": {"z": 3}})
    assert merged == {"a": {"x": 1, "y": 2}, "b": {"z": 3}}


@pytest.mark.parametrize("text", ["model = [", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecipeError, match=r"recipe\.toml"):
        read_recipe(path)


def test_every_section_is_known() -> None:
    assert {key.partition(".")[0] for key in setting_keys(Recipe)} == set(Recipe.model_fields)


def test_the_recipe_is_imported_without_pytorch() -> None:
    script = (
        "import sys, ingot.training.config.recipe\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "sys.exit(' '.join(loaded & {'torch', 'tensorboard'}) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
