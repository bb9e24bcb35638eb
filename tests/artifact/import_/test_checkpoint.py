"""Checkpoints as people have them, and broken or hostile ones, each refused by name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ingot.api.importing import import_model
from ingot.artifact import open_ingot
from ingot.artifact.import_ import open_folder
from ingot.errors import ArtifactError
from tests.artifact.import_.conftest import Maker

INDEX = "model.safetensors.index.json"
Edit = Callable[[dict[str, torch.Tensor]], object]


def edited(folder: Path, edit: Edit) -> None:
    """Change the tensors of a folder."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, {"format": "pt"})


def test_shards_are_one_model(checkpoint: Maker, tmp_path: Path) -> None:
    whole, _ = checkpoint("llama2")
    import_model(whole, tmp_path / "whole.ingot").close()
    for path in whole.glob("model*"):
        path.unlink()
    sharded, _ = checkpoint("llama2", max_shard_size="60KB")
    assert len(list(sharded.glob("model-*.safetensors"))) > 1
    import_model(sharded, tmp_path / "sharded.ingot").close()
    with open_ingot(tmp_path / "whole.ingot") as one, open_ingot(tmp_path / "sharded.ingot") as two:
        assert one.manifest.tensors == two.manifest.tensors


def test_provenance_names_every_file(checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("qwen3")
    (folder / "LICENSE").write_text("Apache License")
    (folder / "README.md").write_text(
        "---\nlicense: apache-2.0\nbase_model:\n- Org/Base-1B\nwidget: [x]\n---\n# Card\n"
    )
    with import_model(folder, tmp_path / "out.ingot") as ingot:
        origin = ingot.manifest.provenance.origin
    assert origin is not None
    assert (origin.source, origin.family, origin.license) == ("qwen3", "qwen3", "apache-2.0")
    assert origin.base_model == "Org/Base-1B"
    assert set(origin.files) == {path.name for path in folder.iterdir()}


def test_templates_stop_tokens_and_sampling_are_kept(checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("qwen3")
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": [0, 7]}))
    generation = {"temperature": 0.6, "top_k": 20, "eos_token_id": 0, "transformers_version": "5"}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    import_model(folder, tmp_path / "out.ingot").close()
    with open_ingot(tmp_path / "out.ingot") as ingot:
        assert ingot.tokenizer.chat_templates["default"] == template
        assert ingot.tokenizer.stop_ids == {0, 7}
        assert (ingot.generation.temperature, ingot.generation.top_k) == (0.6, 20)


def test_a_tied_head_may_be_stored_if_it_is_the_embedding(
    checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint("llama3")
    edited(folder, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}))
    import_model(folder, tmp_path / "out.ingot").close()
    edited(folder, lambda t: t["lm_head.weight"].add_(1))
    with pytest.raises(ArtifactError, match=r"'lm_head.weight' is not the embedding"):
        import_model(folder, tmp_path / "other.ingot")


BROKEN: list[tuple[str, Edit, str]] = [
    ("llama2", lambda t: t.pop("model.norm.weight"), "'model.norm.weight' is missing"),
    ("llama2", lambda t: t.update(extra=torch.ones(2)), "fewer|'extra' is not part of the model"),
    (
        "llama2",
        lambda t: t.update({"model.layers.1.mlp.up_proj.weight": torch.ones(48, 31)}),
        r"'model.layers.1.mlp.up_proj.weight' has shape \(48, 31\)",
    ),
    (
        "phi3",
        lambda t: t.update({"model.layers.1.self_attn.qkv_proj.weight": torch.ones(65, 32)}),
        "has 65 outputs, the config asks for 64",
    ),
    (
        "llama2",
        lambda t: t.update({"model.norm.weight": torch.ones(32, dtype=torch.int32)}),
        "is I32, not BF16, F16 or F32",
    ),
    (
        "llama2",
        lambda t: t["model.norm.weight"].fill_(float("nan")),
        "not finite",
    ),
]


@pytest.mark.parametrize(("name", "edit", "message"), BROKEN)
def test_wrong_tensors_are_named(
    name: str, edit: Edit, message: str, checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint(name)
    edited(folder, edit)
    with pytest.raises(ArtifactError, match=message):
        import_model(folder, tmp_path / "out.ingot")
    assert not (tmp_path / "out.ingot").exists()


def test_more_layers_than_tensors_is_refused_before_any_work(
    checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint("llama2")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 1 << 23}))
    with pytest.raises(ArtifactError, match=r"fewer than config.json asks for"):
        import_model(folder, tmp_path / "out.ingot")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {}}, "does not map tensors to files"),
        ({"weight_map": {"x": "../model.safetensors"}}, "is not the name of a shard"),
        ({"weight_map": {"x": 3}}, "is not the name of a shard"),
        ({"weight_map": {"x": "model.safetensors"}}, "'x' is not in model.safetensors"),
        ({"weight_map": {"x": "gone.safetensors"}}, "gone.safetensors: is missing"),
        ({"weight_map": {}, "code": "x"}, "'code' is not understood"),
    ],
)
def test_a_wrong_index_is_refused(
    index: object, message: str, checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint("llama2")
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(ArtifactError, match=message):
        import_model(folder, tmp_path / "out.ingot")


def test_an_index_that_leaves_a_tensor_out_is_refused(checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("llama2", max_shard_size="60KB")
    index = json.loads((folder / INDEX).read_text())
    del index["weight_map"]["model.norm.weight"]
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(ArtifactError, match=r"does not list tensor 'model.norm.weight'"):
        import_model(folder, tmp_path / "out.ingot")


def test_pickles_are_not_read(checkpoint: Maker, tmp_path: Path) -> None:
    folder, model = checkpoint("llama2")
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match=r"pytorch_model.bin: is not safetensors"):
        import_model(folder, tmp_path / "out.ingot")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_link_out_of_the_folder_is_refused(name: str, checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("llama2")
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match=f"{name}: is a symbolic link"):
        import_model(folder, tmp_path / "out.ingot")


def test_a_pipe_is_refused(checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("llama2")
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(ArtifactError, match="not a regular file"):
        import_model(folder, tmp_path / "out.ingot")


def test_a_snapshot_of_the_hubs_cache_may_link_to_its_blobs(
    checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint("llama2")
    import_model(folder, tmp_path / "direct.ingot").close()
    repository = tmp_path / "models--Org--Name"
    snapshot, blobs = repository / "snapshots" / ("a" * 40), repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(blobs / f"{number:064x}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number:064x}")
    import_model(snapshot, tmp_path / "linked.ingot").close()
    with (
        open_ingot(tmp_path / "direct.ingot") as one,
        open_ingot(tmp_path / "linked.ingot") as two,
    ):
        assert one.manifest.tensors == two.manifest.tensors
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("../../../secret")
    with pytest.raises(ArtifactError, match="symbolic link"):
        import_model(snapshot, tmp_path / "other.ingot")


def test_a_file_that_changes_meanwhile_is_refused(checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("llama2")
    weights = folder / "model.safetensors"
    with open_folder(folder) as opened:
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        with weights.open("r+b") as file:  # the same inode, and the same size
            file.write(data)
        with pytest.raises(ArtifactError, match=r"model.safetensors: changes while it is read"):
            opened.seal(tmp_path / "out.ingot")
    assert not (tmp_path / "out.ingot").exists()


def test_no_tensor_is_kept(checkpoint: Maker) -> None:
    folder, _ = checkpoint("llama2")
    with open_folder(folder) as opened:
        first = opened.tensors["model.norm.weight"]
        assert opened.tensors["model.norm.weight"] is not first
