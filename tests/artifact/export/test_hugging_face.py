"""transformers loads what ``export_hf`` writes, and computes the same."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ingot.artifact import Scheme
from ingot.artifact.export import export_hf
from ingot.errors import ArtifactError, UsageError
from ingot.model import ModelConfig
from ingot.model.chat import DEFAULT_TEMPLATE
from ingot.model.transformer import Transformer
from tests.artifact.export import conftest
from tests.artifact.export.conftest import SIZES, Make


def our_logits(ingot: object, ids: torch.Tensor) -> torch.Tensor:
    model = Transformer(ingot.config)  # type: ignore[attr-defined]
    weights = {name: torch.from_numpy(x.copy()) for name, x in ingot.float32()}  # type: ignore[attr-defined]
    model.load_state_dict(weights)
    with torch.no_grad():
        return model.logits(model(ids))


IDS = torch.randint(300, (2, 60), generator=torch.Generator().manual_seed(0))
SCHEMES = [None, Scheme("int8"), Scheme("int4", 64, (("*.down_proj", "bf16"),))]


@pytest.mark.parametrize("scheme", SCHEMES, ids=["bf16", "int8", "mixed"])
def test_transformers_gives_our_logits(make: Make, tmp_path: Path, scheme: Scheme | None) -> None:
    with make(scheme) as ingot:
        made = export_hf(ingot, tmp_path / "out", dtype="float32", shard_bytes=100_000)
        expected = our_logits(ingot, IDS)
    theirs = AutoModelForCausalLM.from_pretrained(made.path)
    assert theirs.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits, expected, atol=1e-4, rtol=0)
    assert len(list(made.path.glob("model-*.safetensors"))) > 3


def test_theta_and_window_are_in_both_spellings(make: Make, tmp_path: Path) -> None:
    config = ModelConfig(**SIZES, sliding_window=9)  # type: ignore[arg-type]
    with make(config=config) as ingot:
        export_hf(ingot, tmp_path / "out", dtype="float32")
        expected = our_logits(ingot, IDS)
    content = json.loads((tmp_path / "out" / "config.json").read_text())
    assert content["rope_theta"] == content["rope_parameters"]["rope_theta"] == 10_000
    assert content["dtype"] == content["torch_dtype"] == "float32"
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits, expected, atol=1e-4, rtol=0)


def test_tokenizer_and_template_come_along(make: Make, tmp_path: Path) -> None:
    with make() as ingot:
        export_hf(ingot, tmp_path / "out")
        ours = ingot.tokenizer
        theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
        text = "def area(width):\n  return 12345"
        assert theirs(text)["input_ids"] == ours.encode(text)
        assert theirs.eos_token_id == ours.eos_id
        assert theirs.chat_template == DEFAULT_TEMPLATE
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == DEFAULT_TEMPLATE


def test_the_card_says_where_it_comes_from(make: Make, tmp_path: Path) -> None:
    with make(Scheme("int8")) as ingot:
        made = export_hf(ingot, tmp_path / "out")
        card = (tmp_path / "out" / "README.md").read_text()
        assert ingot.digest in card
    assert card.startswith('---\nlibrary_name: "transformers"\n')
    assert "c" * 64 in card
    assert made.notes == ("The weights are what the codes (int8) stand for, rounded to bfloat16.",)
    assert made.notes[0] in card


def test_progress_ends_at_all_bytes(make: Make, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with make() as ingot:
        made = export_hf(ingot, tmp_path / "out", progress=lambda *both: seen.append(both))
    assert seen[-1] == (made.bytes, made.bytes)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_what_is_there_is_replaced_only_if_it_is_an_export(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with make() as ingot:
        export_hf(ingot, out)
        with pytest.raises(UsageError, match="exists already"):
            export_hf(ingot, out)
        export_hf(ingot, out, overwrite=True, dtype="float16")
        (out / "mine.txt").write_text("keep me")
        with pytest.raises(UsageError, match=r"mine\.txt"):
            export_hf(ingot, out, overwrite=True)
        other = tmp_path / "photos"
        other.mkdir()
        with pytest.raises(UsageError, match="not an export"):
            export_hf(ingot, other, overwrite=True)
        with pytest.raises(UsageError, match="does not exist"):
            export_hf(ingot, tmp_path / "no" / "where")
    assert (out / "mine.txt").read_text() == "keep me"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos", "small.ingot"]


def test_a_damaged_ingot_leaves_nothing(make: Make, tmp_path: Path) -> None:
    with make() as ingot:
        weights = ingot.path / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.chmod(0o644)
        weights.write_bytes(data)
        with pytest.raises(ArtifactError, match="digest"):
            export_hf(ingot, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["small.ingot"]


def test_values_too_large_for_float16_are_named(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = conftest.drawn

    def large(config: ModelConfig) -> conftest.Weights:
        weights = plain(config)
        weights["model.norm.weight"] = np.full_like(weights["model.norm.weight"], 1e5)
        return weights

    monkeypatch.setattr(conftest, "drawn", large)
    with make() as ingot, pytest.raises(ArtifactError, match=r"model\.norm\.weight.*float16"):
        export_hf(ingot, tmp_path / "out", dtype="float16")
