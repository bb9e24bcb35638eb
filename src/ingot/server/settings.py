"""Settings of the command line, ``SECTION.KEY=VALUE``: sections server, engine, cost, kv_events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ingot.costs import CostConfig
from ingot.errors import UsageError
from ingot.inference import EngineConfig
from ingot.inference.request.objective import parse_objective
from ingot.server.config import ServerConfig
from ingot.server.engine.kv_events import KvEventsConfig
from ingot.settings import check_tables, merge_tables, parse_settings


class ServeSettings(BaseModel):
    """The sections that ``ingot serve --set`` knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: ServerConfig = ServerConfig()
    engine: EngineConfig = EngineConfig()
    cost: CostConfig = CostConfig()
    kv_events: KvEventsConfig = KvEventsConfig()


def read_settings(
    settings: Iterable[str], cost: Mapping[str, Any] | None = None, **server: Any
) -> ServeSettings:
    """Return all configurations; ``settings`` win over the other arguments.

    Args:
        settings: Texts such as ``engine.max_waiting=4096``; a value is JSON, or a text.
        cost: Fields of ``CostConfig`` that have command-line options of their own.
        server: Fields of ``ServerConfig`` that have command-line options of their own.

    Raises:
        UsageError: a setting is malformed, unknown or out of range; it is named.
    """
    options = {"server": server, "cost": cost or {}}
    tables = merge_tables(options, parse_settings(settings, ServeSettings, UsageError))
    return check_tables(tables, ServeSettings, UsageError)


def named_objectives(texts: Iterable[str], models: Iterable[str]) -> dict[str, Any]:
    """Return the fields of ``ServerConfig`` that state objectives.

    Args:
        texts: Each such as ``ttft=1s,itl=50ms``, after ``MODEL:`` if it is one model's alone.
        models: Names of the models.

    Raises:
        UsageError: a text states no objective, names a model that is not served, or two texts are
            for the same models.
    """
    common = ""
    own: dict[str, str] = {}
    known = list(models)
    for given in texts:
        name, colon, text = given.rpartition(":")
        if colon and name not in known:
            raise UsageError(
                f"names {name[:80]!r}, which is not served",
                where="--objective",
                fix="use one of " + ", ".join(known[:5]),
            )
        if name in own or (not colon and common):
            raise UsageError("is given twice", where="--objective", fix="leave one out")
        parse_objective(text, where="--objective")
        if colon:
            own[name] = text
        else:
            common = text
    return {"objective": common, "model_objectives": own} if common or own else {}


def named_paths(texts: Iterable[str]) -> dict[str, Path]:
    """Return the folders of ingots by the names of their models.

    Args:
        texts: Each a folder, named after itself without ``.ingot``, or ``NAME=FOLDER``.

    Raises:
        UsageError: two ingots have the same name.
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
