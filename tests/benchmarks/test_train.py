from __future__ import annotations

import math
from pathlib import Path

import torch

from benchmarks.plain_gpt import PlainGPT, _score, train
from benchmarks.random_models import SHAPES, make_random_ingot, matrix_products
from benchmarks.train import RECIPES
from benchmarks.training_costs import Cost, Costs, _counted_flops, draw_costs
from benchmarks.training_speed import OurSide
from ingot.artifact import open_ingot
from ingot.training.config.optimizer import OptimizerConfig
from ingot.training.config.recipe import make_recipe, read_recipe


def test_the_plain_recipe_learns() -> None:
    text = "to be or not to be that is the question " * 100
    assert train(text, steps=40, seed=0) < 0.8 * math.log(len(set(text)))


def test_the_plain_score_counts_each_character_once() -> None:
    model = PlainGPT(7, layers=1, width=16, heads=2, context=8)
    ids = torch.randint(0, 7, (8 * 64 + 8 * 3 + 6,))
    total = 0.0
    for start in range(0, len(ids) - 1, 8):
        part = ids[start : start + 9]
        total += model.loss(part[None]).item() * (len(part) - 1)
    assert math.isclose(_score(model, ids, 8), total / (len(ids) - 1), rel_tol=1e-5)


def test_both_sides_are_of_one_size() -> None:
    config = OurSide(torch.zeros(1, 9, dtype=torch.int64), OptimizerConfig()).config
    plain = PlainGPT(65, layers=6, width=384, heads=6, context=256)
    parameters = sum(parameter.numel() for parameter in plain.parameters())
    assert abs(config.parameters / parameters - 1) < 0.03


def test_the_recipes_are_good() -> None:
    for path in RECIPES.glob("*.toml"):
        make_recipe(read_recipe(path), where=path)


def test_each_phase_costs_what_it_should_and_is_drawn(tmp_path: Path) -> None:
    training, inference = _counted_flops()
    assert math.isclose(training, 6, rel_tol=0.05)
    assert math.isclose(inference, 2, rel_tol=0.05)
    series = [Cost(64, 128, 4, 10**6, 1000.0, 10**8), Cost(128, 256, 8, 10**7, 100.0, 10**9)]
    costs = Costs(series, series, series, training, inference, 1e11)
    assert len(list(costs.rows())) == 8
    draw_costs(costs, tmp_path / "costs.png")
    assert (tmp_path / "costs.png").read_bytes().startswith(b"\x89PNG")


def test_a_random_model_is_the_shape_it_says(tmp_path: Path) -> None:
    with open_ingot(make_random_ingot(tmp_path, "5M", "int4")) as ingot:
        assert ingot.config == SHAPES["5M"]
        assert 4.5e6 < ingot.config.parameters < 5.5e6
        assert ingot.manifest.quantization is not None
    assert matrix_products(SHAPES["600M"]) == SHAPES["600M"].parameters - sum(
        math.prod(shape) for shape in SHAPES["600M"].tensor_shapes().values() if len(shape) == 1
    )
