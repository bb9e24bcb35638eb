"""Settings of the command line: ``server.KEY=VALUE`` and ``engine.KEY=VALUE``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ingot.errors import UsageError
from ingot.inference import EngineConfig
from ingot.server.config import ServerConfig

_Config = TypeVar("_Config", bound=BaseModel)
_SECTIONS: dict[str, type[BaseModel]] = {"server": ServerConfig, "engine": EngineConfig}


def read_settings(settings: Iterable[str], **server: Any) -> tuple[ServerConfig, EngineConfig]:
    """Return what settings say, over what was given otherwise.

    Args:
        settings: Texts such as ``engine.max_waiting=4096``; a value is JSON, or a text.
        server: Fields of ``ServerConfig`` that were given by options of their own.

    Raises:
        UsageError: names the setting that is not good.
    """
    given: dict[str, dict[str, Any]] = {"server": dict(server), "engine": {}}
    for setting in settings:
        place, equals, text = setting.partition("=")
        section, dot, key = place.strip().partition(".")
        if not (equals and dot and section in _SECTIONS):
            raise UsageError(
                "is no setting",
                where=setting[:80],
                fix="write server.KEY=VALUE or engine.KEY=VALUE",
            )
        given[section][key] = _value(text)
    return _checked(ServerConfig, "server", given), _checked(EngineConfig, "engine", given)


def _value(text: str) -> Any:
    """Read a value as JSON; what is none is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _checked(kind: type[_Config], section: str, given: dict[str, dict[str, Any]]) -> _Config:
    try:
        # Not strict about types: JSON has none for paths and tuples.
        return kind.model_validate(given[section], strict=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = str(first["loc"][0])
        near = difflib.get_close_matches(key, kind.model_fields, n=1)
        unknown = first["type"] == "extra_forbidden"
        fix = f"did you mean {section}.{near[0]}?" if unknown and near else None
        what = "is not a setting" if unknown else first["msg"]
        raise UsageError(what, where=f"{section}.{key}", fix=fix) from error


def named_paths(texts: Iterable[str]) -> dict[str, Path]:
    """Return ingots' folders by the names of their models.

    Args:
        texts: Each a folder, named after itself without ``.ingot``, or ``NAME=FOLDER``.

    Raises:
        UsageError: two have one name.
    """
    named: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or Path(text).exists():
            folder = text
            name = Path(text).absolute().name.removesuffix(".ingot")
        if name in named:
            raise UsageError("names two ingots", where=name, fix="write NAME=FOLDER for one")
        named[name] = Path(folder)
    return named
