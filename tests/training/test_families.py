"""Runs that start from other families' models: training, adapters, sealing, quantizing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ingot.api import training
from ingot.api.importing import import_model
from ingot.artifact import open_ingot
from ingot.errors import RecipeError
from ingot.model import ModelConfig, Tokenizer
from ingot.model.transformer import Transformer
from ingot.training.compute.fused_modules import FusedAttention, fuse
from ingot.training.compute.precision import Precision
from ingot.training.config.fine_tuning_defaults import tuning_tables
from ingot.training.config.model import ModelRecipe, model_table
from ingot.training.data.batch import Batch
from ingot.training.evaluation.scoring import open_model
from ingot.training.objectives.next_token import hidden_states
from tests.artifact.import_.tiny import FAMILIES, make_checkpoint
from tests.model.test_config import SMALL, VARIANTS

TRAINED = (
    "gemma3",
    "gpt2",
    "phi3",
    *(
        pytest.param(name, marks=pytest.mark.long)
        for name in ("granite-hybrid", "llama-biases", "olmo3", "qwen2")
    ),
)
QUICK = ["run.steps=2", "run.evaluations=1", "run.samples=1", "batch.context=32"]
QUICK += ["run.measure_peak=false"]
TEXT = "def area(width, height):\n    return width * height\n" * 80


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([TEXT], 300)


@pytest.fixture(scope="module", params=TRAINED)
def base(
    request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A family's random model, sealed; its vocabulary is padded."""
    folder = tmp_path_factory.mktemp(request.param)
    make_checkpoint(request.param, folder / "model", tokenizer)
    import_model(folder / "model", folder / "base.ingot", dtype="float32").close()
    return folder / "base.ingot"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "area.py"
    path.write_text("\n".join(f"{TEXT[:60]}{n * n}" for n in range(300)))
    return path


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("talks") / "talks.jsonl"
    talks = [
        [{"role": "user", "content": f"{n}"}, {"role": "assistant", "content": f"{n + 1}"}]
        for n in range(30)
    ]
    path.write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in talks))
    return path


def changed(before: Path, run: Path) -> set[str]:
    """Names of the weights, in float32, that a run changed."""
    model, _ = open_model(run)
    with open_ingot(before) as old:
        context = model.config.max_position_embeddings  # that of the sequences it is trained on
        assert model.config == dataclasses.replace(old.config, max_position_embeddings=context)
        theirs = dict(old.float32())
    weights = model.state_dict()
    return {name for name, values in theirs.items() if (weights[name].numpy() != values).any()}


@pytest.fixture(scope="module")
def tuned(base: Path, texts: Path) -> Path:
    """The run that starts from it."""
    return training.train(texts, out=base.parent / "run", start=base, settings=QUICK).path


def test_every_weight_is_trained_and_sealed_again(
    base: Path, tuned: Path, texts: Path, tmp_path: Path
) -> None:
    with open_ingot(base) as ingot:
        names = set(ingot.config.tensor_shapes())
    # A key's bias adds the same to all scores of a query, unless it is rotated afterwards.
    assert {name for name in names - changed(base, tuned) if "k_proj.bias" not in name} == set()
    with training.freeze(tuned, tmp_path / "tuned.ingot") as sealed, open_ingot(base) as before:
        # Whose model it was, and its licence, go along.
        assert sealed.manifest.provenance.origin == before.manifest.provenance.origin is not None
    assert training.evaluate(tmp_path / "tuned.ingot", texts).bits_per_byte > 0


def test_an_adapter_is_trained_and_merged(base: Path, talks: Path, tmp_path: Path) -> None:
    settings = [*QUICK, "lora.rank=2"]
    run = training.train(talks, out=tmp_path / "run", start=base, task="chat", settings=settings)
    assert run.recipe.lora is not None
    names = changed(base, run.path)
    assert {name.split(".")[-2] for name in names} == set(run.recipe.lora.targets)
    assert all(name.endswith("_proj.weight") for name in names)
    training.freeze(run.path, tmp_path / "tuned.ingot").close()


def test_a_calibrated_model_is_near_the_whole_one(tuned: Path, texts: Path, tmp_path: Path) -> None:
    training.freeze(tuned, tmp_path / "whole.ingot").close()
    with training.freeze(tuned, tmp_path / "int8.ingot", quantize="int8") as int8:
        assert int8.manifest.quantization is not None
        assert int8.manifest.quantization.method == "gptq"
    whole, rounded = (
        training.evaluate(tmp_path / f"{name}.ingot", texts).loss for name in ("whole", "int8")
    )
    assert rounded == pytest.approx(whole, rel=0.02)


def test_an_adapter_of_a_gate_needs_a_gate(tokenizer: Tokenizer, tmp_path: Path) -> None:
    make_checkpoint("gpt2", tmp_path / "model", tokenizer)
    import_model(tmp_path / "model", tmp_path / "base.ingot").close()
    data = tmp_path / "talks.jsonl"
    data.write_text('{"messages": [{"role": "user", "content": "a"}]}\n' * 5)
    settings = [*QUICK, 'lora.targets=["gate_proj"]']
    with pytest.raises(RecipeError, match=r"lora\.targets: names gate_proj"):
        training.train(
            data,
            out=tmp_path / "run",
            start=tmp_path / "base.ingot",
            task="chat",
            settings=settings,
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_recipe_holds_every_variant(name: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    make_checkpoint(name, tmp_path / "model", tokenizer)
    with import_model(tmp_path / "model", tmp_path / "out.ingot") as ingot:
        config = ingot.config
    table = json.loads(json.dumps(model_table(config)))
    assert ModelRecipe(**table).config(300, 16) == config


def test_a_long_context_is_kept_while_sequences_are_short() -> None:
    long = dataclasses.replace(SMALL, max_position_embeddings=131_072)
    tables = tuning_tables(long, "text")
    assert tables["batch"]["context"] == 2048
    recipe = ModelRecipe(**tables["model"])
    assert recipe.config(300, 2048) == long
    with pytest.raises(RecipeError, match=r"batch\.context: is 200000"):
        recipe.config(300, 200_000)
    short = ModelRecipe(**tuning_tables(SMALL, "text")["model"])
    assert short.config(300, 32).max_position_embeddings == 32  # as ever: it follows the sequences


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_kernels_do_not_compute_falls_back(variant: dict[str, Any], apart: bool) -> None:
    """In bfloat16, with training's kernels where there are any, as in float32 without."""
    sizes = {"hidden_size": 64, "head_dim": 32, "num_hidden_layers": 3}
    config = dataclasses.replace(SMALL, **sizes, **variant)
    model = random_model(config)
    ids = torch.randint(300, (2, 41), generator=torch.Generator().manual_seed(5))
    segments = np.repeat(np.arange(3), [10, 20, 10])[None].repeat(2, 0).astype(np.int32)
    batch = Batch(ids.numpy(), None, segments if apart else None)
    device = torch.device("cpu")
    with torch.no_grad():
        exact = hidden_states(model, batch, device)
        fuse(model, Precision(device, torch.bfloat16))
        with torch.autocast("cpu", torch.bfloat16):
            rounded = hidden_states(model, batch, device)
    assert (rounded - exact).norm() < 0.03 * exact.norm()
    fused = any(isinstance(module, FusedAttention) for module in model.modules())
    fits = config.qk_norm == "head" and config.rotary_dim == config.head_dim
    assert not fused or fits


def random_model(config: ModelConfig) -> Transformer:
    model = Transformer(config)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator) * 0.15
        parameter.data = drawn + ("norm" in name and name.endswith("weight"))
    return model
