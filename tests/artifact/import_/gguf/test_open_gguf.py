from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.api.importing import import_model
from ingot.api.inference import load
from ingot.api.sources import as_ingot
from ingot.artifact import open_ingot, verify
from ingot.artifact.import_ import open_gguf
from ingot.errors import ArtifactError, UsageError
from tests.artifact.import_.gguf.converting import FAMILIES, convert
from tests.artifact.import_.gguf.test_tokenizer import UNUSED, USER, byte_level_keys, trained

RECORD: dict[str, Any] = {
    "general.license": "apache-2.0",
    "general.base_model.0.organization": "Some Org",
    "general.base_model.0.name": "A Model",
    "general.sampling.temp": 1,
    "general.sampling.top_k": 40,
    "tokenizer.chat_template": "{{ messages[0].content }}",
    "tokenizer.ggml.add_bos_token": False,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    original = FAMILIES[0].make()
    keys = byte_level_keys(trained([]), "llama-bpe")
    for name in ("tokens", "token_type"):
        keys[f"tokenizer.ggml.{name}"] = keys[f"tokenizer.ggml.{name}"][:320]
    convert(original, "llama", path, keys | RECORD, dtype="Q4_1")
    return path


def test_an_import_keeps_what_the_file_says(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.ingot"
    import_model(model, out, dtype="float32").close()

    verify(out)
    with open_ingot(out) as ingot, open_gguf(model) as opened:
        origin = ingot.manifest.provenance.origin
        assert origin is not None
        assert origin.family == "llama"
        assert origin.license == "apache-2.0"
        assert origin.base_model == "Some Org/A Model"
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        assert origin.files["tiny.gguf"].sha256 == digest
        assert opened.generation.temperature == 1
        assert opened.generation.top_k == 40
        assert ingot.tokenizer.stop_ids == {0, 1}
        assert ingot.tokenizer.prefix == ()
        assert ingot.tokenizer.chat_templates["default"] == "{{ messages[0].content }}"
        loaded = ingot.load()
        for name, values in opened.tensors.items():
            np.testing.assert_array_equal(loaded[name].array(), values)


def test_a_file_is_imported_into_the_cache_where_an_ingot_is_asked_for(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []

    first = as_ingot(model, said.append)
    second = as_ingot(model, said.append)

    assert first == second
    assert sum("importing" in each for each in said) == 1
    verify(first)


def test_ids_without_a_token_are_never_sampled_by_the_core(tmp_path: Path) -> None:
    """FAULTS D14: a vocabulary with gaps, inside it and after it, through the native core."""
    keys = byte_level_keys(trained([]), "llama-bpe")
    tokens = [*keys["tokenizer.ggml.tokens"][:300], *(f"[PAD{n}]" for n in range(300, 320))]
    tokens[304] = "<extra>"
    kinds = np.array([*keys["tokenizer.ggml.token_type"][:300], *[UNUSED] * 20], "<i4")
    kinds[304] = USER
    keys |= {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds}
    known = set(tokens)
    keys["tokenizer.ggml.merges"] = [
        merge
        for merge in keys["tokenizer.ggml.merges"]
        if {*merge.split(" "), merge.replace(" ", "")} <= known
    ]
    path, out = tmp_path / "gaps.gguf", tmp_path / "gaps.ingot"
    convert(FAMILIES[0].make(), "llama", path, keys)
    import_model(path, out, dtype="float32").close()

    hot = {"max_tokens": 200, "temperature": 2.0, "min_p": 0.0, "seed": 1, "ignore_eos": True}
    greedy = {"max_tokens": 24, "temperature": 0, "ignore_eos": True}
    answers = {}
    for executor in ("native", "torch"):
        with load(out, executor=executor) as model:
            assert model.ingot.tokenizer.vocab_size == 305
            assert model.ingot.tokenizer.holes == (300, 301, 302, 303)
            assert model.ingot.config.vocab_size == 320
            sampled = model.generate("abc<extra>", **hot).token_ids
            answers[executor] = model.generate("abc<extra>", **greedy).token_ids
        assert max(sampled) < 305
        assert not {300, 301, 302, 303} & set(sampled)
        assert len(set(sampled)) > 60
    assert answers["native"] == answers["torch"]


def test_a_link_to_a_file_is_followed(model: Path, tmp_path: Path) -> None:
    (tmp_path / "link.gguf").symlink_to(model)

    with open_gguf(tmp_path / "link.gguf") as opened:
        assert opened.origin.source == "link.gguf"


def test_a_file_that_changes_meanwhile_makes_no_ingot(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(model.read_bytes())

    with open_gguf(copy) as opened:
        os.utime(copy, ns=(1, 1))
        with pytest.raises(ArtifactError, match="was changed while it was read"):
            opened.seal(tmp_path / "x.ingot").close()
    assert not (tmp_path / "x.ingot").exists()


def test_an_adapter_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be merged into a GGUF file"):
        import_model(model, tmp_path / "x.ingot", adapter=tmp_path)


def test_a_file_that_is_not_gguf(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"hello" * 100)
    with pytest.raises(ArtifactError, match=r"no\.gguf: is not a GGUF file"):
        import_model(tmp_path / "no.gguf", tmp_path / "x.ingot")
