"""Settings as tables: read from TOML files and ``section.key=value`` texts, merged, checked.

A recipe and a server are both configured by a pydantic model whose fields are
sections, themselves models. Everything here takes that model as an argument.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from ingot.errors import IngotError, from_validation, nearest
from ingot.files import read_regular

Tables = dict[str, Any]
Settings = Iterable[str] | Mapping[str, Any]
"""Texts such as ``run.steps=100``, or a mapping such as ``{"run.steps": 100}``."""
_Model = TypeVar("_Model", bound=BaseModel)
_LARGEST_FILE = 1 << 20  # bytes; TOML is parsed by Python code, some seconds for each megabyte
_LONGEST_TEXT = 80  # characters of a setting to repeat in an error


def read_toml(path: Path, error: type[IngotError]) -> Tables:
    """Return the tables of a TOML file, unchecked.

    Raises:
        IngotError: of the class ``error``; the file is missing, not a regular one, too large
            or not TOML.
    """
    data = read_regular(path, error, max_bytes=_LARGEST_FILE, fix="check the path")
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as cause:  # also numbers of thousands of digits
        raise error(f"is not valid TOML ({cause})", where=path, fix="correct the file") from cause


def parse_settings(settings: Settings, model: type[BaseModel], error: type[IngotError]) -> Tables:
    """Turn settings into tables. The value in a text is JSON, or else the text itself.

    Raises:
        IngotError: of the class ``error``; a text has no ``=``, or a key no section.
    """
    if isinstance(settings, Mapping):
        settings = [f"{key}={json.dumps(value, default=str)}" for key, value in settings.items()]
    tables: Tables = {}
    for text in settings:
        key, equals, value = text.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and section and name):
            near = nearest(key.strip(), setting_keys(model)) if equals and key.strip() else None
            example = f"{near}={value[:_LONGEST_TEXT]}" if near else "section.key=value"
            raise error(
                "is not a setting",
                where=f"--set {text[:_LONGEST_TEXT]}",
                fix=f"write --set {example}",
            )
        tables.setdefault(section, {})[name] = _value(value)
    return tables


def merge_tables(*layers: Mapping[str, Any]) -> Tables:
    """Lay tables over each other; later ones win key by key."""
    merged: Tables = {}
    for layer in layers:
        for section, values in layer.items():
            if isinstance(values, Mapping) and isinstance(merged.get(section), dict):
                merged[section] = {**merged[section], **values}
            else:
                merged[section] = dict(values) if isinstance(values, Mapping) else values
    return merged


def check_tables(
    tables: Mapping[str, Any],
    model: type[_Model],
    error: type[IngotError],
    *,
    where: object = None,
) -> _Model:
    """Return the model that the tables describe.

    Raises:
        IngotError: of the class ``error``; a key is unknown (the nearest known one is named), or
            a value has the wrong type or is out of range.
    """
    try:
        # Not strict about types: TOML and JSON have neither paths nor tuples.
        return model.model_validate(tables, strict=False)
    except ValidationError as cause:
        known = [*model.model_fields, *setting_keys(model)]
        raise from_validation(error, cause, where=where, noun="setting", known=known) from cause


def setting_keys(model: type[BaseModel]) -> list[str]:
    """Return every key that the model's sections have, as ``section.key``.

    A table within a section is one value: it is set as a whole.
    """
    keys = []
    for name, field in model.model_fields.items():
        section = section_model(field.annotation)
        keys += [f"{name}.{key}" for key in section.model_fields] if section else [name]
    return keys


def section_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field holds, alone or with None; None for a plain value."""
    for kind in get_args(annotation) or (annotation,):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()
