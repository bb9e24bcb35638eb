"""The ``config.json`` inside an ingot: a model configuration, written and strictly read.

A Qwen3-shaped model is written as Hugging Face writes it, so that other engines read it as it
stands. Any other is written by this program's own names: no other engine would compute it rightly
from them, and none can mistake it for a model that it knows.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

from ingot.errors import ArtifactError, RecipeError
from ingot.model.config import ModelConfig
from ingot.model.rope import RopeConfig

Architecture = Literal["Qwen3ForCausalLM", "IngotForCausalLM"]
QWEN3: Architecture = "Qwen3ForCausalLM"
INGOT: Architecture = "IngotForCausalLM"
_MAX_ITEMS = 1 << 16  # of a list; no model has so many layers or pairs

_BESIDE = frozenset(
    {
        "architectures",
        "model_type",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "torch_dtype",
        "quantization_config",
    }
)
"""Keys that say nothing of how the model computes; what they say is checked elsewhere."""
_SIZES = tuple(field.name for field in dataclasses.fields(ModelConfig)[:8])
_QWEN3_FIELDS = (*_SIZES, "rms_norm_eps", "tie_word_embeddings")
_QWEN3_FIXED: Mapping[str, object] = types.MappingProxyType(
    {"hidden_act": "silu", "attention_bias": False, "attention_dropout": 0.0}
)
"""Keys of Qwen3 with the one value that this program computes."""

_Class = TypeVar("_Class")


class _WrongType(Exception):  # noqa: N818 (caught here alone)
    """A value of another type than its field's."""


def architecture_of(config: ModelConfig) -> Architecture:
    """Return the name that ``config.json`` gives the model: Qwen3's where it is that."""
    return INGOT if config.variants else QWEN3


def to_json(
    config: ModelConfig, *, eos_token_id: int | Sequence[int], dtype: str
) -> dict[str, Any]:
    """Return a ``config.json``.

    Args:
        config: The model.
        eos_token_id: The token, or tokens, that end a text; the first is also the one before it.
        dtype: Name of the weights' format, as Hugging Face names it.
    """
    ends = eos_token_id if isinstance(eos_token_id, int) else list(eos_token_id)
    beside = {
        "bos_token_id": ends if isinstance(ends, int) else ends[0],
        "eos_token_id": ends,
        "torch_dtype": dtype,
    }
    if config.variants:
        own = {
            "architectures": [architecture_of(config)],
            "model_type": "ingot",
            **dataclasses.asdict(config),
        }
        return own | beside
    window = config.sliding_window
    sizes = {name: getattr(config, name) for name in _QWEN3_FIELDS}
    return {
        "architectures": [architecture_of(config)],
        "model_type": "qwen3",
        **sizes,
        "rope_theta": config.rope.rope_theta,
        **_QWEN3_FIXED,
        "use_sliding_window": window is not None,
        **({} if window is None else {"sliding_window": window, "max_window_layers": 0}),
        **beside,
    }


def from_json(data: Mapping[str, Any], *, where: object = "config.json") -> ModelConfig:
    """Parse an untrusted ``config.json`` of an ingot; every key is understood or refused.

    Raises:
        ArtifactError: another architecture, an unknown key, a missing one, or a wrong type or
            size.
    """
    architectures = data.get("architectures")
    try:
        if architectures == [QWEN3]:
            return _from_qwen3(data, where)
        if architectures == [INGOT]:
            given = {key: value for key, value in data.items() if key not in _BESIDE}
            return _parse(ModelConfig, given, where)
    except RecipeError as error:
        raise ArtifactError(error.what, where=f"{where} ({error.where})") from error
    raise ArtifactError(
        f"architecture {_short(architectures)} is not that of an ingot",
        where=where,
        fix="make an ingot of the model first: ingot import",
    )


def _from_qwen3(data: Mapping[str, Any], where: object) -> ModelConfig:
    """Read a configuration under Qwen3's own keys."""
    window_keys = ("use_sliding_window", "sliding_window", "max_window_layers")
    _refuse_unknown(data, (*_QWEN3_FIELDS, "rope_theta", *_QWEN3_FIXED, *window_keys), where)
    for name, only in _QWEN3_FIXED.items():
        if name in data and data[name] != only:
            raise ArtifactError(f"{name} {_short(data[name])} is not supported", where=where)
    sizes = {name: data[name] for name in _QWEN3_FIELDS if name in data}
    theta = {"rope_theta": data["rope_theta"]} if "rope_theta" in data else {}
    window = data.get("sliding_window")
    if not isinstance(data.get("use_sliding_window", False), bool):
        raise ArtifactError("use_sliding_window is not true or false", where=where)
    if not data.get("use_sliding_window"):
        window = None
    elif data.get("max_window_layers") != 0 or isinstance(data["max_window_layers"], bool):
        raise ArtifactError(
            "some layers have a sliding window and others none, which is not supported here",
            where=where,
            fix="make an ingot of the model: ingot import",
        )
    # Through the same checks as an ingot's own names, as if it were written with them.
    config = _parse(ModelConfig, sizes | {"sliding_window": window}, where)
    return dataclasses.replace(config, rope=_parse(RopeConfig, theta, where))


def _parse(kind: type[_Class], data: Mapping[str, Any], where: object) -> _Class:
    """Return a dataclass from an object of JSON, every key and type checked."""
    hints = typing.get_type_hints(kind)
    known = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    _refuse_unknown(data, known, where)
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name not in data and field.default is not dataclasses.MISSING:
            continue
        try:
            values[name] = _typed(hints[name], data.get(name), f"{where} ({name})")
        except _WrongType:
            raise ArtifactError(
                f"field {name!r} is missing or not {_described(hints[name])}", where=where
            ) from None
    return kind(**values)


def _typed(hint: Any, value: Any, where: object) -> Any:
    """Return a value of JSON as its field's type.

    Raises:
        _WrongType: it is of another one.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, types.UnionType}:
        return None if value is None else _typed(arguments[0], value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple) or len(value) > _MAX_ITEMS:
            raise _WrongType
        return tuple(_typed(arguments[0], each, where) for each in value)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise _WrongType
        return _parse(typing.cast(type[Any], hint), value, where)
    if origin is Literal:
        right = isinstance(value, str) and value in arguments
    else:
        numbers = (int, float) if hint is float else hint
        right = isinstance(value, numbers) and isinstance(value, bool) == (hint is bool)
    if not right:
        raise _WrongType
    return _as_float(value) if hint is float else value


def _described(hint: Any) -> str:
    """Return what a field must be, for an error."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(arguments)
    if typing.get_origin(hint) is tuple:
        return f"a list of {arguments[0].__name__}"
    return "of type " + getattr(hint, "__name__", str(hint))


def _refuse_unknown(data: Mapping[str, Any], known: Iterable[str], where: object) -> None:
    """Refuse the first key that is not known: it might change what the model computes."""
    for key in data.keys() - set(known) - _BESIDE:
        raise ArtifactError(
            f"key {_short(key)} is not understood",
            where=where,
            fix="make an ingot of the original model: ingot import",
        )


def _as_float(value: float) -> float:
    """Return a number as a float; one that is too large for any becomes infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _short(value: object) -> str:
    """Return what a file says where something else is expected, for an error of one line."""
    return f"{str(value)[:60]!r}" if isinstance(value, str) else repr(value)[:60]
