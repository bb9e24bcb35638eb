"""Models that read what strangers send: no container describes more than its first fault.

Pydantic describes each fault in a kilobyte, so a manifest of 12 MB once took 1.4 GB to refuse.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from ingot.artifact.format.manifest import Manifest
from ingot.corpus.store.manifest import CorpusManifest
from ingot.errors import TOO_MANY, ArtifactError, from_validation, invalid_field
from ingot.server.schemas.chat import ChatRequest
from ingot.server.schemas.common import Strict
from ingot.server.schemas.responses import ResponsesRequest


def below(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Return every model derived from ``kind``."""
    for derived in kind.__subclasses__():
        yield derived
        yield from below(derived)


READERS = list(dict.fromkeys([Manifest, CorpusManifest, *below(Strict)]))
_CONTAINERS = {"list", "dict", "set", "frozenset"}


def schemas(found: Any) -> Iterator[dict[str, Any]]:
    """Return every schema inside a core schema."""
    if isinstance(found, dict):
        if isinstance(found.get("type"), str):
            yield found
        for key, value in found.items():
            if key not in {"metadata", "serialization"}:
                yield from schemas(value)
    elif isinstance(found, list | tuple):
        for value in found:
            yield from schemas(value)


def accepts_all(items: Any) -> bool:
    """Tell whether a schema of items cannot find a fault."""
    return items is None or "JsonValue" in str(items)[:400] or "'type': 'any'" in str(items)[:40]


def test_every_request_is_looked_at() -> None:
    assert {ChatRequest, ResponsesRequest} <= set(READERS)


@pytest.mark.parametrize("kind", READERS)
def test_containers_stop_at_their_first_fault(kind: type[BaseModel]) -> None:
    patient = []
    for schema in schemas(kind.__pydantic_core_schema__):
        if schema["type"] in _CONTAINERS or "variadic_item_index" in schema:
            items = schema.get("values_schema") or schema.get("items_schema")
            if not schema.get("fail_fast") and not accepts_all(items):
                patient.append(schema)
    assert patient == []


def test_many_faults_are_counted_instead_of_described() -> None:
    adapter = TypeAdapter(Manifest)
    data = json.dumps({f"unknown {number}": number for number in range(5000)})
    with pytest.raises(ValidationError) as caught:
        adapter.validate_json(data)
    assert invalid_field(caught.value).kind == TOO_MANY
    error = from_validation(ArtifactError, caught.value, where="ingot.json", what="is damaged")
    missing = sum(field.is_required() for field in Manifest.model_fields.values())
    assert str(error) == (
        f"ingot.json: is damaged (holds {5000 + missing:,} unknown or wrong fields); remove them"
    )
