"""Reference of all recipe, server and engine settings, read from the code that checks them."""

from __future__ import annotations

import ast
import inspect
import json
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ingot.errors import UsageError, nearest
from ingot.server.settings import ServeSettings
from ingot.settings import section_model
from ingot.training.config.recipe import Recipe

_PLAIN = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
    type(None): "unset",
}

_INTRODUCTION = """\
# Settings

Every key of recipes, of the server and of the engine, generated from the code by
`ingot settings --markdown > docs/settings.md`. `ingot settings` prints the same in the
terminal; `ingot settings SECTION` and `ingot settings SECTION.KEY` print a part of it.

A value on the command line is JSON, or else text: `--set optimizer.muon_lr=0.01`,
`--set 'corpus.suffixes=[".py"]'`, `--set schedule.shape=cosine`. An unknown key is refused, and
the nearest known one is named. A setting that is `unset` has no value until one is given."""


@dataclass(frozen=True)
class Setting:
    """One setting, described."""

    key: str
    """``section.name``, as ``--set`` and TOML files spell it."""
    kind: str
    """Type and range, such as ``integer from 1 to 512``."""
    default: str
    """The default as TOML; ``unset`` without one."""
    meaning: str
    """What it does, in one paragraph."""


@dataclass(frozen=True)
class Section:
    """The settings that share the first part of their keys."""

    name: str
    command: str
    """How to set its keys."""
    meaning: str
    settings: tuple[Setting, ...]


def all_sections() -> list[Section]:
    """Return every section, the recipe's first."""
    pairs: list[tuple[type[BaseModel], str]] = [
        (Recipe, "ingot train --set KEY=VALUE, or a recipe file"),
        (ServeSettings, "ingot serve --set KEY=VALUE"),
    ]
    return [
        describe(name, model, command)
        for root, command in pairs
        for name, field in root.model_fields.items()
        if (model := section_model(field.annotation))
    ]


def find_sections(wanted: str | None) -> list[Section]:
    """Return the sections, settings or single setting named ``wanted``; None names all.

    Raises:
        UsageError: nothing has that name; the nearest one is suggested.
    """
    sections = all_sections()
    if wanted is None:
        return sections
    found = []
    for section in sections:
        settings = tuple(
            setting for setting in section.settings if wanted in {section.name, setting.key}
        )
        if settings:
            found.append(Section(section.name, section.command, section.meaning, settings))
    if not found:
        names = [section.name for section in sections]
        names += [setting.key for section in sections for setting in section.settings]
        near = nearest(wanted, names)
        raise UsageError(
            "is not a setting",
            where=wanted[:80],
            fix=f'did you mean "{near}"?' if near else "list them with: ingot settings",
        )
    return found


def describe(name: str, model: type[BaseModel], command: str) -> Section:
    """Return the fields of a model as a section of settings.

    Args:
        name: The section.
        model: The model that checks it. Its source must be readable.
        command: How its settings are given.
    """
    meanings = _docstrings(model)
    settings = (
        Setting(
            f"{name}.{key}",
            _kind(field.annotation, field.metadata),
            _default(field),
            meanings.get(key, ""),
        )
        for key, field in model.model_fields.items()
    )
    return Section(name, command, _one_line(inspect.getdoc(model) or ""), tuple(settings))


def to_markdown(sections: Sequence[Section]) -> str:
    """Return the reference as a page of Markdown."""
    lines = [_INTRODUCTION]
    command = ""
    for section in sections:
        if section.command != command:
            command = section.command
            lines += ["", f"Given with `{command.partition(',')[0]}`{_rest(command)}:"]
        lines += [
            "",
            f"## `{section.name}`",
            "",
            section.meaning,
            "",
            "| key | type | default | meaning |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{setting.key}` | {_cell(setting.kind)} | `{setting.default}` "
            f"| {_cell(setting.meaning)} |"
            for setting in section.settings
        ]
    return "\n".join(lines) + "\n"


def _rest(command: str) -> str:
    return "".join(command.partition(",")[1:])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the text under each field of a model's source."""
    texts: dict[str, str] = {}
    # A base class first, so that a field that is declared again keeps its own text.
    for owner in reversed(model.__mro__):
        if not (issubclass(owner, BaseModel) and owner is not BaseModel):
            continue
        definition = ast.parse(inspect.cleandoc("\n" + inspect.getsource(owner))).body[0]
        assert isinstance(definition, ast.ClassDef)  # noqa: S101 (getsource returns a class)
        for field, text in zip(definition.body, definition.body[1:], strict=False):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ):
                    texts[name] = _one_line(words)
    return texts


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=False)
    if value is None:
        return "unset"
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False)


def _kind(annotation: Any, metadata: Iterable[Any]) -> str:
    """Return a type with its range in words."""
    metadata = list(metadata)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0], [*_flat(arguments[1:]), *metadata])
    if origin in {Union, types.UnionType}:
        kinds = [part for part in arguments if part is not type(None)]
        return " or ".join([*(_kind(kind, metadata) for kind in kinds), "unset"])
    if origin is Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin is tuple:
        return f"list of {_kind(arguments[0], ())}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    if origin is dict:
        return f"table of {_kind(arguments[1], ())}"
    return (_PLAIN[annotation] + _range(metadata)).strip()


def _flat(metadata: Iterable[Any]) -> list[Any]:
    """Return the constraints of ``Field(...)`` beside plain ones."""
    found: list[Any] = []
    for entry in metadata:
        found += entry.metadata if isinstance(entry, FieldInfo) else [entry]
    return found


def _range(metadata: Iterable[Any]) -> str:
    low = high = ""
    for bound in metadata:
        match bound:
            case Ge(ge=least):
                low = f" from {_number(least)}"
            case Gt(gt=least):
                low = f" above {_number(least)}"
            case Le(le=most):
                high = (
                    f" to {_number(most)}"
                    if low.startswith(" from")
                    else f", at most {_number(most)}"
                )
            case Lt(lt=most):
                high = f", below {_number(most)}" if low else f" below {_number(most)}"
    return low + high


def _number(value: Any) -> str:
    """Return a bound; powers of two past a million as such."""
    if isinstance(value, int) and value >= 1 << 20 and value & (value - 1) == 0:
        return f"2^{value.bit_length() - 1}"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
