"""The bill of materials against the official schema of CycloneDX 1.7."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ingot.api.ingots import write_bill_of_materials
from ingot.artifact import open_ingot, signature_path
from ingot.artifact.bill_of_materials import bill_of_materials
from tests.artifact.resealing import copy_writable

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_7)
ORIGIN: dict[str, Any] = {
    "source": "hf:some-org/Model-1B",
    "family": "llama",
    "revision": "abc123",
    "license": "apache-2.0",
    "base_model": "other.org/Base",
    "files": {"model.safetensors": {"bytes": 10, "sha256": "f" * 64}},
    "adapter": {"adapter_model.safetensors": {"bytes": 5, "sha256": "e" * 64}},
}


def valid(path: Path, name: str = "tiny") -> dict[str, Any]:
    """The bill of an ingot; valid by the schema."""
    with open_ingot(path) as ingot:
        bill = bill_of_materials(ingot, name)
    assert VALIDATOR.validate_str(json.dumps(bill)) is None
    return bill


def model_of(bill: dict[str, Any]) -> dict[str, Any]:
    return dict(bill["metadata"]["component"])


def properties(of: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in of["properties"]}


def test_the_validator_refuses_what_is_wrong(pristine: Path) -> None:
    bill = valid(pristine)
    model_of(bill)["modelCard"]["unknown"] = 1
    assert VALIDATOR.validate_str(json.dumps(bill)) is not None


def test_a_model_that_was_trained(pristine: Path) -> None:
    bill = valid(pristine)
    model = model_of(bill)
    with open_ingot(pristine) as ingot:
        digest, files = ingot.digest, ingot.manifest.files
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": digest}]
    card = model["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"][:2] == [
        {"type": "bits per byte", "value": "1.125", "slice": "held-out text"},
        {"type": "cross-entropy in nats per token", "value": "2.625", "slice": "held-out text"},
    ]
    assert properties(card)["ingot:recipe:optimizer:betas"] == "[0.9, 0.95]"
    assert properties(card)["ingot:tokens"] == "6400"
    assert properties(model)["ingot:dtype"] == "bfloat16"
    data, *listed = bill["components"]
    assert data["hashes"] == [{"alg": "SHA-256", "content": "c" * 64}]
    assert card["modelParameters"]["datasets"] == [{"ref": data["bom-ref"]}]
    assert {each["name"]: each["hashes"][0]["content"] for each in listed} == {
        name: record.sha256 for name, record in files.items()
    }
    assert "pedigree" not in model
    assert "licenses" not in model


def test_a_model_that_was_imported(
    pristine: Path, resealed: Callable[..., Path], tmp_path: Path
) -> None:
    def edit(content: dict[str, Any]) -> None:
        nothing = dict.fromkeys(content["provenance"])
        content["provenance"] = nothing | {"origin": ORIGIN, "parent": "d" * 64}

    bill = valid(resealed(pristine, tmp_path / "x.ingot", edit))
    model = model_of(bill)
    declared = [{"license": {"id": "Apache-2.0", "acknowledgement": "declared"}}]
    assert model["licenses"] == declared
    parent, source, base = model["pedigree"]["ancestors"]
    assert parent["version"] == "d" * 64
    assert source["purl"] == "pkg:huggingface/some-org/Model-1B@abc123"
    assert source["licenses"] == declared
    assert [each["name"] for each in source["components"]] == [
        "model.safetensors",
        "adapter_model.safetensors",
    ]
    assert base["purl"] == "pkg:huggingface/other.org/Base"
    card = model["modelCard"]
    assert card["modelParameters"]["modelArchitecture"] == "llama"
    assert "approach" not in card["modelParameters"]
    assert "quantitativeAnalysis" not in card
    assert [each["type"] for each in bill["components"]].count("data") == 0


@pytest.mark.parametrize(
    ("task", "learning"),
    [("text", "self-supervised"), ("chat", "supervised"), ("preference", "supervised")],
)
def test_how_it_learned(
    pristine: Path, resealed: Callable[..., Path], tmp_path: Path, task: str, learning: str
) -> None:
    path = resealed(
        pristine,
        tmp_path / "x.ingot",
        lambda content: content["provenance"].update(recipe={"task": {"kind": task}}),
    )
    card = model_of(valid(path))["modelCard"]
    assert card["modelParameters"]["approach"] == {"type": learning}


def test_strange_texts_are_still_valid(
    pristine: Path, resealed: Callable[..., Path], tmp_path: Path
) -> None:
    strange = '\x00\u2028 "]}>ü' + "x" * 500
    origin = ORIGIN | {
        "source": "/folder of/mine",
        "license": strange,
        "base_model": strange,
        "revision": strange,
    }
    fields = {"origin": origin, "corpus_digest": strange, "recipe": {strange: {strange: [strange]}}}
    path = resealed(
        pristine, tmp_path / "x.ingot", lambda content: content["provenance"].update(fields)
    )
    bill = valid(path, name=strange)
    source = model_of(bill)["pedigree"]["ancestors"][0]
    assert "purl" not in source
    assert model_of(bill)["licenses"][0]["license"]["name"] == strange
    assert "hashes" not in bill["components"][0]


def test_a_quantized_and_signed_one(quantized: Path, tmp_path: Path) -> None:
    path = copy_writable(quantized, tmp_path / "my small.ingot")
    signature_path(path).write_text("{}")
    bill = valid(path)
    assert properties(model_of(bill))["ingot:quantization"] == "round"
    assert model_of(bill)["externalReferences"] == [
        {"type": "digital-signature", "url": "my%20small.ingot.sig"}
    ]


def test_each_bill_has_its_time_and_number(pristine: Path, tmp_path: Path) -> None:
    with open_ingot(pristine) as ingot:
        moment = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)
        first, second = (bill_of_materials(ingot, "x", moment) for _ in range(2))
    assert first["metadata"]["timestamp"] == "2026-11-29T12:30:00Z"
    assert first.pop("serialNumber") != second.pop("serialNumber")
    assert first == second
    written = write_bill_of_materials(pristine, tmp_path / "bom.json")
    assert json.loads((tmp_path / "bom.json").read_bytes()) == written
    assert model_of(written)["name"] == "tiny"
