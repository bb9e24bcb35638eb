from __future__ import annotations

from pathlib import Path

import pytest

import ingot
from ingot.artifact import open_ingot
from ingot.errors import RecipeError, UsageError

SMALL = {
    "corpus.vocab_size": 300,
    "model.hidden_size": 16,
    "model.intermediate_size": 16,
    "model.num_hidden_layers": 1,
    "model.num_attention_heads": 1,
    "model.num_key_value_heads": 1,
    "model.head_dim": 16,
    "batch.context": 32,
    "run.steps": 2,
    "run.measure_peak": False,
    "run.warm_start": False,
}


def test_settings_are_a_mapping_and_a_run_is_a_path(texts: Path, tmp_path: Path) -> None:
    run = ingot.train(texts / "00.py", out=tmp_path / "run", settings=SMALL)
    assert run.result.steps == 2
    assert run.recipe.model.hidden_size == 16
    assert Path(run) == run.path == tmp_path / "run"
    assert ingot.resume(run).result.steps == 2
    with ingot.freeze(run, tmp_path / "q.ingot", quantize="int8") as sealed:
        assert sealed.manifest.quantization is not None
    with open_ingot(tmp_path / "q.ingot") as opened:
        assert opened.digest == sealed.digest
    with pytest.raises(UsageError, match="int3"):
        ingot.freeze(run, tmp_path / "no.ingot", quantize="int3")  # type: ignore[arg-type]
    assert ingot.evaluate(run).bits_per_byte > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hidden_size": 3}, r"write --set model\.hidden_size=3"),
        ({"model.hiden_size": 3}, r'did you mean "model\.hidden_size"'),
        ({"model.hidden_size": "many"}, 'must be a valid integer, got "many"'),
        (["model.hidden_size"], "is not a setting"),
    ],
)
def test_a_bad_setting_is_refused_before_anything_is_made(
    settings: dict[str, object] | list[str], said: str, texts: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=said):
        ingot.train(texts, out=tmp_path / "run", settings=settings)
    assert list(tmp_path.iterdir()) == []
