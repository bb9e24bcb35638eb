"""Rotary embedding in a foreign config, in the spellings of transformers 4 and 5."""

from __future__ import annotations

from typing import NamedTuple

from ingot.artifact.import_.config_fields import ConfigFields, shown
from ingot.errors import ArtifactError, RecipeError
from ingot.model.rope import RopeConfig

_TYPES = ("default", "linear", "llama3", "yarn", "longrope")
_LAYER_KINDS = ("full_attention", "sliding_attention")


class RopeFields(NamedTuple):
    """What a config says about rotary embedding."""

    rope: RopeConfig
    """Of layers that attend to all."""
    local_rope: RopeConfig | None
    """Of layers with a sliding window, where they differ."""
    partial: float
    """Share of a head's width that is rotated."""


def read_rope(
    fields: ConfigFields,
    *,
    context: int,
    theta: float = 10_000.0,
    local_theta: float | None = None,
    local_key: str | None = None,
    older_longrope: bool = False,
) -> RopeFields:
    """Take every key about rotary embedding out of a config.

    transformers 5 writes ``rope_parameters``: one object, or one for each kind of layer.
    transformers 4 wrote ``rope_theta`` and ``rope_scaling``, Gemma also ``rope_local_base_freq``.

    Args:
        fields: The config.
        context: ``max_position_embeddings``.
        theta: Base where the config gives none.
        local_theta: Base of layers with a window where the config gives none; None where the
            family has one base for all.
        local_key: transformers 4's name of that base.
        older_longrope: The family's configs call longrope "su" or "yarn" too.

    Raises:
        ArtifactError: a key that is not understood, or two spellings that contradict each other.
    """
    bases = _Bases(
        fields.optional_number("rope_theta"),
        theta,
        None if local_key is None else fields.optional_number(local_key),
        local_theta,
    )
    partial = fields.optional_number("partial_rotary_factor")
    original = fields.optional_integer("original_max_position_embeddings")
    new, old = fields.table("rope_parameters"), fields.table("rope_scaling")
    read: list[RopeFields] = []
    for table, of_layers in ((new, local_theta is not None), (old, False)):
        if table is not None or not (read or new or old):
            reader = _Reader(context, original, partial, older_longrope)
            read.append(reader.read_all(table, bases, of_layers=of_layers))
    if len(read) == 2 and read[0] != read[1]:
        raise fields.wrong("rope_scaling", "does not say the same as rope_parameters")
    return read[0]


class _Bases(NamedTuple):
    """Bases that stand outside of objects, and those of configs that give none."""

    given: float | None
    usual: float
    given_local: float | None
    usual_local: float | None


class _Reader:
    def __init__(
        self, context: int, original: int | None, partial: float | None, older_longrope: bool
    ) -> None:
        self._context = context
        self._original = original
        self.partial = partial
        self._older_longrope = older_longrope

    def read_all(self, table: ConfigFields | None, bases: _Bases, *, of_layers: bool) -> RopeFields:
        """Return what one spelling says; ``of_layers``: with one object for each kind of layer."""
        local_theta = bases.usual if bases.usual_local is None else bases.usual_local
        if table is not None and of_layers:
            full, local = (table.table(kind) for kind in _LAYER_KINDS)
            table.finish()
            rope = self.read(full, bases.given, bases.usual)
            local_rope = self.read(local, bases.given_local, local_theta)
        else:
            rope = local_rope = self.read(table, bases.given, bases.usual)
            if bases.usual_local is not None:
                # Scaling lengthens the context, and layers with a window see no more of it.
                local_rope = self.read(None, bases.given_local, local_theta)
        different = None if local_rope == rope else local_rope
        return RopeFields(rope, different, self.partial or 1.0)

    def read(
        self, table: ConfigFields | None, given_theta: float | None, default_theta: float
    ) -> RopeConfig:
        """Return what one object says, with the keys that stand outside of it."""
        if table is None:
            return _made(given_theta or default_theta, {}, "config.json")
        theta = self._same(table, "rope_theta", given_theta, table.optional_number("rope_theta"))
        self.partial = self._same(
            table,
            "partial_rotary_factor",
            self.partial,
            table.optional_number("partial_rotary_factor"),
        )
        kind = self._kind(table)
        values = self._values(table, kind)
        table.finish()
        return _made(theta or default_theta, {"rope_type": kind, **values}, table.where)

    def _kind(self, table: ConfigFields) -> str:
        old = table.text("type", "")
        kind = table.text("rope_type", old or "default")
        if old and old != kind:
            raise table.wrong("type", f"is {shown(old)}, rope_type is {shown(kind)}")
        if self._older_longrope and kind in ("su", "yarn"):
            return "longrope"
        if kind not in _TYPES:
            raise ArtifactError(
                f"rope_type {shown(kind)} is not supported",
                where=table.where,
                fix=f"use a model with one of {', '.join(_TYPES)}",
            )
        return kind

    def _values(self, table: ConfigFields, kind: str) -> dict[str, object]:
        """Return the keys of one type of scaling; those of other types are left."""
        if kind == "default":
            return {}
        if kind == "linear":
            return {"factor": table.number("factor")}
        original = self._same(
            table,
            "original_max_position_embeddings",
            self._original,
            table.optional_integer("original_max_position_embeddings"),
        )
        original = original or self._context
        values: dict[str, object] = {"original_max_position_embeddings": original}
        factor = table.optional_number("factor")
        if factor is None:
            if kind == "llama3":
                raise table.wrong("factor", "is missing")
            factor = self._context / original if original else 1.0  # a context of 0 is refused
        values["factor"] = factor
        if kind == "llama3":
            values["low_freq_factor"] = table.number("low_freq_factor")
            values["high_freq_factor"] = table.number("high_freq_factor")
            return values
        values["attention_factor"] = table.optional_number("attention_factor")
        if kind == "yarn":
            values["beta_fast"] = table.optional_number("beta_fast") or 32.0
            values["beta_slow"] = table.optional_number("beta_slow") or 1.0
            values["truncate"] = table.flag("truncate", True)
            return values
        for name in ("short_factor", "long_factor"):
            factors = table.numbers(name)
            if factors is None:
                raise table.wrong(name, "is missing")
            values[name] = factors
        return values

    @staticmethod
    def _same(table: ConfigFields, name: str, outside: float | None, inside: float | None) -> float:
        """Return a value that may be given inside or outside of an object, or both alike."""
        if outside is not None and inside is not None and outside != inside:
            raise table.wrong(name, f"is {inside:g} here and {outside:g} outside")
        return inside if inside is not None else outside  # type: ignore[return-value]


def _made(theta: float, values: dict[str, object], where: object) -> RopeConfig:
    try:
        return RopeConfig(rope_theta=theta, **values)  # type: ignore[arg-type]
    except RecipeError as error:
        raise ArtifactError(f"{error.where}: {error.what}", where=where) from error
