"""A bill of materials for a sealed model: CycloneDX 1.7, with its model card.

Schema: cyclonedx.org/schema/bom-1.7.schema.json (ECMA-424). Everything in it comes from the
ingot, its digests checked; what the manifest does not say is left out.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from ingot.artifact.format.manifest import Origin, Provenance
from ingot.artifact.ingot import Ingot
from ingot.artifact.signing.signature import signature_path

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HUB_NAME = re.compile(r"(?:hf:)?([\w.-]+)/([\w.-]+)")
# How the hub writes licences, and SPDX does; others go in by name.
_SPDX = {
    identifier.lower(): identifier
    for identifier in (
        *("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unlicense", "CC0-1.0"),
        *("CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0"),
        *("MPL-2.0", "EPL-2.0", "Zlib", "WTFPL", "AFL-3.0", "ECL-2.0", "OFL-1.1", "NCSA"),
    )
}
_LEARNING = {"text": "self-supervised", "chat": "supervised", "preference": "supervised"}
_METRICS = {
    "bits_per_byte": ("bits per byte", "held-out text"),
    "validation_loss": ("cross-entropy in nats per token", "held-out text"),
    "training_loss": ("cross-entropy in nats per token, smoothed", "training text"),
}
_COUNTED = ("code_version", "seed", "steps", "tokens", "flops", "wall_seconds")


def bill_of_materials(ingot: Ingot, name: str, now: datetime | None = None) -> dict[str, Any]:
    """Return the bill of materials of an open ingot, as JSON.

    Args:
        ingot: The model.
        name: What to call it.
        now: When the bill was made; the current time by default.
    """
    provenance = ingot.manifest.provenance
    model = _model(ingot, name)
    dataset = _dataset(provenance)
    if dataset is not None:
        model["modelCard"]["modelParameters"]["datasets"] = [{"ref": dataset["bom-ref"]}]
    made = (now or datetime.now(UTC)).astimezone(UTC)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lifecycles": [{"phase": "post-build"}],
            "tools": {
                "components": [
                    {"type": "application", "name": "ingot", "version": version("ingot")}
                ]
            },
            "component": model,
        },
        "components": [*([dataset] if dataset is not None else []), *_files(ingot)],
        "dependencies": [{"ref": model["bom-ref"]}],
    }


def _model(ingot: Ingot, name: str) -> dict[str, Any]:
    """Return the component of the model itself."""
    manifest = ingot.manifest
    provenance = manifest.provenance
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"ingot:{ingot.digest}",
        "name": name,
        "version": ingot.digest,
        "hashes": [_hash(ingot.digest)],
    }
    if provenance.origin is not None and provenance.origin.license is not None:
        component["licenses"] = _licenses(provenance.origin.license)
    if ancestors := list(_ancestors(provenance)):
        component["pedigree"] = {"ancestors": ancestors}
    signature = signature_path(ingot.path)
    if signature.exists():
        component["externalReferences"] = [
            {"type": "digital-signature", "url": quote(signature.name)}
        ]
    component["modelCard"] = _model_card(ingot)
    component["properties"] = _properties(
        {
            "format_version": manifest.format_version,
            "dtype": manifest.dtype,
            "quantization": manifest.quantization and manifest.quantization.method,
            "parameters": ingot.config.parameters,
            "weight_bytes": ingot.weight_bytes,
            "vocabulary": ingot.tokenizer.vocab_size,
            "context": ingot.config.max_position_embeddings,
        }
    )
    return component


def _model_card(ingot: Ingot) -> dict[str, Any]:
    """Return how the model was trained and what it reached."""
    provenance = ingot.manifest.provenance
    recipe = provenance.recipe or {}
    origin = provenance.origin
    parameters: dict[str, Any] = {
        "task": "text-generation",
        "architectureFamily": "transformer",
        "modelArchitecture": origin.family if origin is not None else ingot.manifest.architecture,
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "text"}],
    }
    task = recipe.get("task")
    learning = _LEARNING.get(str(task.get("kind"))) if isinstance(task, dict) else None
    if learning is not None:
        parameters["approach"] = {"type": learning}
    card: dict[str, Any] = {"modelParameters": parameters}
    metrics = [
        {"type": kind, "value": repr(value), "slice": where}
        for field, (kind, where) in _METRICS.items()
        if (value := getattr(provenance, field)) is not None
    ]
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    card["considerations"] = {
        "technicalLimitations": [
            f"Texts longer than {ingot.config.max_position_embeddings} tokens are refused."
        ]
    }
    counted = {name: getattr(provenance, name) for name in _COUNTED}
    card["properties"] = _properties(counted | {"recipe": recipe})
    return card


def _ancestors(provenance: Provenance) -> Iterator[dict[str, Any]]:
    """Yield the models that this one was made from."""
    if provenance.parent is not None:
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"ingot:{provenance.parent}",
            "name": "parent ingot",
            "version": provenance.parent,
            "hashes": [_hash(provenance.parent)],
        }
    origin = provenance.origin
    if origin is None:
        return
    source = _hub_model(origin.source, origin.revision)
    if origin.license is not None:
        source["licenses"] = _licenses(origin.license)
    source["components"] = list(_source_files(origin))
    yield source
    if origin.base_model is not None:
        yield _hub_model(origin.base_model, None)


def _hub_model(name: str, revision: str | None) -> dict[str, Any]:
    """Return the component of a model by its name, with its address where the name is the hub's."""
    component: dict[str, Any] = {"type": "machine-learning-model", "name": name}
    if revision is not None:
        component["version"] = revision
    found = _HUB_NAME.fullmatch(name)
    if found is not None:
        address = f"pkg:huggingface/{quote(found[1])}/{quote(found[2])}"
        component["purl"] = f"{address}@{quote(revision)}" if revision is not None else address
    return component


def _source_files(origin: Origin) -> Iterator[dict[str, Any]]:
    for files in (origin.files, origin.adapter or {}):
        for name, record in files.items():
            yield {"type": "file", "name": name, "hashes": [_hash(record.sha256)]}


def _dataset(provenance: Provenance) -> dict[str, Any] | None:
    """Return the component of the corpus, if one is recorded."""
    digest = provenance.corpus_digest
    if digest is None:
        return None
    component: dict[str, Any] = {
        "type": "data",
        "bom-ref": f"corpus:{digest}",
        "name": "training corpus",
        "version": digest,
        "data": [{"type": "dataset", "name": "token shards"}],
    }
    if _SHA256.fullmatch(digest):
        component["hashes"] = [_hash(digest)]
    return component


def _files(ingot: Ingot) -> Iterator[dict[str, Any]]:
    """Yield a component for each file of the ingot."""
    for name, record in sorted(ingot.manifest.files.items()):
        yield {
            "type": "file",
            "bom-ref": f"file:{name}",
            "name": name,
            "hashes": [_hash(record.sha256)],
            "properties": _properties({"bytes": record.bytes}),
        }


def _hash(sha256: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": sha256}


def _licenses(text: str) -> list[dict[str, Any]]:
    identifier = _SPDX.get(text.lower())
    named = {"id": identifier} if identifier is not None else {"name": text}
    return [{"license": named | {"acknowledgement": "declared"}}]


def _properties(fields: Mapping[str, Any], prefix: str = "ingot") -> list[dict[str, str]]:
    """Return named values, those of nested objects by their paths; what is None is left out."""
    found: list[dict[str, str]] = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            found += _properties(value, f"{prefix}:{name}")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            found.append({"name": f"{prefix}:{name}", "value": text})
    return found
