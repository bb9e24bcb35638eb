from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from ingot.artifact import FileRecord, Manifest, Provenance, TensorRecord
from ingot.errors import ArtifactError

HASH = "0" * 63 + "a"
SMALL = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]


def sealed(files: list[str], provenance: Provenance | None = None) -> Manifest:
    return Manifest.seal(
        architecture="Qwen3ForCausalLM",
        dtype="bfloat16",
        tensors={"a": TensorRecord(dtype="BF16", shape=(2, 3), sha256=HASH)},
        files={name: FileRecord(bytes=5, sha256=HASH) for name in files},
        provenance=provenance or Provenance(),
    )


@pytest.fixture
def manifest(provenance: Provenance) -> Manifest:
    return sealed([*SMALL, "model.safetensors"], provenance)


def resealed(content: dict[str, Any]) -> bytes:
    """Write a manifest as Ingot does, its digest right for whatever it says."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    content = {**rest, "digest": hashlib.sha256(canonical.encode()).hexdigest()}
    return json.dumps(content, sort_keys=True, indent=1).encode() + b"\n"


def test_survives_the_round_trip(manifest: Manifest) -> None:
    assert Manifest.parse(manifest.to_json(), where="x") == manifest


def test_curves_are_kept_and_not_mentioned_where_there_are_none(manifest: Manifest) -> None:
    assert b"curve" not in manifest.to_json()  # so ingots from before they existed still verify
    curve = ((1, 3.5), (2, 3.0))
    drawn = sealed([*SMALL, "model.safetensors"], Provenance(training_curve=curve))
    assert Manifest.parse(drawn.to_json(), where="x").provenance.training_curve == curve
    assert b"validation_curve" not in drawn.to_json()
    for wrong in (((1, float("inf")),), ((-1, 1.0),), ((1, 1.0),) * 201):
        with pytest.raises(ValidationError):
            Provenance(validation_curve=wrong)


def test_digest_is_that_of_the_canonical_json(manifest: Manifest) -> None:
    assert resealed(json.loads(manifest.to_json())) == manifest.to_json()


def test_digest_covers_every_field(manifest: Manifest) -> None:
    seen = {manifest.digest}
    content = json.loads(manifest.to_json())

    def leaves(node: Any, path: tuple[Any, ...] = ()) -> Any:
        if isinstance(node, dict | list) and node:
            for key, value in node.items() if isinstance(node, dict) else enumerate(node):
                yield from leaves(value, (*path, key))
        else:
            yield path

    for path in leaves(content):
        if path == ("digest",):
            continue
        changed = json.loads(manifest.to_json())
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = "changed"
        data = json.dumps(changed, sort_keys=True, indent=1).encode() + b"\n"
        with pytest.raises(ArtifactError, match=r"ingot\.json: "):
            Manifest.parse(data, where="ingot.json")
        seen.add(json.loads(resealed(changed))["digest"])
    assert len(seen) > 30


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"format_version": True},
        {"architecture": "LlamaForCausalLM"},
        {"dtype": "float16"},
        {"tensors": {}},
        {"tensors": {"a": {"dtype": "I8", "shape": [2], "sha256": HASH}}},
        {"tensors": {"a": {"dtype": "BF16", "shape": [-2], "sha256": HASH}}},
        {"tensors": {"a": {"dtype": "BF16", "shape": [2.0], "sha256": HASH}}},
        {"tensors": {"a": {"dtype": "BF16", "shape": [2], "sha256": HASH.upper()}}},
        {"tensors": {"a": {"dtype": "BF16", "shape": [2], "sha256": HASH + "\n"}}},
        {"files": {}},
        {"provenance": None},
        {"provenance": {"seed": "7"}},
        {"provenance": {"host": "unknown field"}},
        {"unknown": 1},
        {"provenance": {"seed": 10**30}},
        {"provenance": {"tokens": 1 << 63}},
        {"provenance": {"corpus_digest": "a" * 1001}},
        {"provenance": {"recipe": {"run": {"seed": 10**30}}}},
        {"provenance": {"recipe": {"a": [{"b": -(10**19)}]}}},
        {"provenance": {"recipe": {"a": nested(40)}}},
        {"tensors": {"a": {"dtype": "BF16", "shape": [1 << 63], "sha256": HASH}}},
        {"tensors": {"a": {"dtype": "BF16", "shape": [1] * 33, "sha256": HASH}}},
    ],
)
def test_refuses_what_is_sealed_but_wrong(manifest: Manifest, change: dict[str, Any]) -> None:
    """FAULTS B5: a seed of 10^30 was an internal error of the page, which sends it on."""
    data = resealed({**json.loads(manifest.to_json()), **change})
    with pytest.raises(ArtifactError, match=r"^ingot\.json: "):
        Manifest.parse(data, where="ingot.json")


@pytest.mark.parametrize(
    "extra",
    [
        "modeling.py",
        "../config.json",
        "/etc/passwd",
        "a/b.json",
        "",
        ".",
        "model.bin",
        "model.pkl",
        "ingot.json",
        "model-1-of-2.safetensors",
        "config.json\n",
    ],
)
def test_refuses_names_that_no_ingot_has(extra: str) -> None:
    with pytest.raises(ValidationError, match="is not a file of an ingot"):
        sealed([*SMALL, "model.safetensors", extra])


@pytest.mark.parametrize(
    "files",
    [
        [*SMALL[1:], "model.safetensors"],
        SMALL,
        [*SMALL, "model.safetensors", "model.safetensors.index.json"],
        [*SMALL, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        [*SMALL, "model-00001-of-00001.safetensors", "model.safetensors"],
    ],
)
def test_refuses_incomplete_lists(files: list[str]) -> None:
    with pytest.raises(ValidationError):
        sealed(files)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"a":' * 10_000, b'{"format_version": 1' + b"0" * 9999],
)
def test_refuses_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"^ingot\.json: is not a valid manifest"):
        Manifest.parse(data, where="ingot.json")


def test_refuses_the_same_content_in_other_words(manifest: Manifest) -> None:
    compact = json.dumps(json.loads(manifest.to_json()), sort_keys=True).encode()
    twice = manifest.to_json().replace(b'"dtype"', b'"dtype": "float32",\n "dtype"', 1)
    for data in (compact, twice, manifest.to_json() + b"\n"):
        with pytest.raises(ArtifactError, match="does not match its own digest"):
            Manifest.parse(data, where="ingot.json")


def test_is_frozen_and_finite(manifest: Manifest) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        manifest.digest = HASH
    for wrong in ({"training_loss": float("nan")}, {"recipe": {"lr": float("inf")}}):
        with pytest.raises(ValidationError):
            Provenance.model_validate(wrong)


@pytest.mark.parametrize("text", [b"[" * 5_000, b'{"a":' * 5_000, b"[" * 2_000_000, b"9" * 5_000])
def test_depth_and_length_are_refused_in_one_line(text: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"^ingot\.json: ") as caught:
        Manifest.parse(b'{"format_version": ' + text, where="ingot.json")
    assert len(str(caught.value)) < 500
