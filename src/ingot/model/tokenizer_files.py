"""Tokenizer of a Hugging Face folder, from the bytes of its small files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ingot.errors import ArtifactError
from ingot.model.generation_config import GENERATION_CONFIG
from ingot.model.special_tokens import NAMES, SpecialTokens
from ingot.model.tokenizer import MOST_TOKENS, Tokenizer
from ingot.strict_json import parse_object

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS_MAP = "special_tokens_map.json"
CONFIG = "config.json"
TEMPLATE = "chat_template.jinja"
OLD_TEMPLATE = "chat_template.json"
FURTHER_TEMPLATES = "additional_chat_templates"
"""Folder of the templates that have names, each ``NAME.jinja``."""

FILES = (
    TOKENIZER,
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS_MAP,
    GENERATION_CONFIG,
    CONFIG,
    TEMPLATE,
    OLD_TEMPLATE,
)
"""Files that are read where they exist; of ``FURTHER_TEMPLATES`` every one, by its path."""

_MOST_TEMPLATES, _LONGEST_NAME, _MOST_ENDS = 16, 64, 64
_LONGEST_TEMPLATE = 1 << 20  # characters; the longest published ones have some 20,000
_UNSUPPORTED = ("add_eos_token", "do_lower_case")
_SPARE = 1 << 10  # added tokens that the model may have no row for


def read_tokenizer(
    files: Mapping[str, bytes], *, rows: int | None = None, where: Path | str = ""
) -> Tokenizer:
    """Return the tokenizer of a model with its special tokens, stop tokens and chat templates.

    The end of a document is ``eos_token`` of ``tokenizer_config.json``, else of
    ``special_tokens_map.json``, else the first ``eos_token_id`` of ``generation_config.json`` or
    ``config.json``. All of them end an answer. ``bos_token`` begins each document where
    ``add_bos_token`` says so, else where the post-processor of ``tokenizer.json`` does. A template
    in a file of its own goes before one in ``tokenizer_config.json``.

    Args:
        files: Contents by name, of those in ``FILES`` that exist; others are not looked at.
        rows: Rows of the model's embedding table; None where there is no model.
        where: The folder, for errors.

    Raises:
        ArtifactError: a file is missing, malformed or asks for what is not supported, or the
            tokenizer has more tokens than ``rows``.
    """
    root = Path(where)
    if TOKENIZER not in files:
        raise ArtifactError(
            "is missing", where=root / TOKENIZER, fix="convert the tokenizer to this format"
        )
    config = _object(files, TOKENIZER_CONFIG, root)
    _check_supported(config, root / TOKENIZER_CONFIG)
    text = _text(files[TOKENIZER], root / TOKENIZER)
    names = _names(_object(files, SPECIAL_TOKENS_MAP, root), config, root)
    ids = [
        *_ids(_object(files, GENERATION_CONFIG, root), root / GENERATION_CONFIG),
        *_ids(_object(files, CONFIG, root), root / CONFIG),
    ]
    special = SpecialTokens(names, _flag(config, "add_bos_token", root), tuple(ids))
    tokenizer = Tokenizer.from_json(
        text,
        special,
        where=root / TOKENIZER,
        max_tokens=MOST_TOKENS if rows is None else rows + _SPARE,
        rows=rows,
        chat_templates=_templates(files, config, root),
    )
    if rows is not None and tokenizer.vocab_size > rows:
        raise ArtifactError(
            f"has {tokenizer.vocab_size} tokens, the model only {rows}", where=root / TOKENIZER
        )
    return tokenizer


def _object(files: Mapping[str, bytes], name: str, root: Path) -> dict[str, Any]:
    """Return a file's JSON object; an empty one where there is no such file."""
    return parse_object(files[name], where=root / name) if name in files else {}


def _text(data: bytes, where: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"is not UTF-8 ({error})", where=where) from error


def _check_supported(config: Mapping[str, Any], where: Path) -> None:
    """Refuse settings that would change the token ids of a text in ways not done here."""
    for name in _UNSUPPORTED:
        if config.get(name):
            raise ArtifactError(f"{name} is not supported", where=where, fix="set it to false")


def _flag(config: Mapping[str, Any], name: str, root: Path) -> bool | None:
    value = config.get(name)
    if value is not None and not isinstance(value, bool):
        raise ArtifactError(f"{name} must be true or false", where=root / TOKENIZER_CONFIG)
    return value


def _names(special_map: Mapping[str, Any], config: Mapping[str, Any], root: Path) -> dict[str, str]:
    """Return the texts of the special tokens that have names; those of the config go first."""
    extra = config.get("extra_special_tokens")
    given = {**special_map, **config, **(extra if isinstance(extra, dict) else {})}
    names: dict[str, str] = {}
    for name in (*NAMES, *(extra if isinstance(extra, dict) else ())):
        value = given.get(name)
        if isinstance(value, dict):  # an AddedToken with its flags, which tokenizer.json has too
            value = value.get("content")
        if value is None:
            continue
        if not isinstance(value, str) or not 1 <= len(value) <= 256:
            raise ArtifactError(f"{name[:40]} must be a token", where=root / TOKENIZER_CONFIG)
        names[name] = value
    return names


def _ids(config: Mapping[str, Any], where: Path) -> list[int]:
    """Return the ids under ``eos_token_id``, which may be one or a list."""
    given = config.get("eos_token_id", [])
    ids = [] if given is None else list(given) if isinstance(given, list) else [given]
    for token_id in ids:
        if type(token_id) is not int or token_id < 0:
            raise ArtifactError(
                f"eos_token_id must be a token id or a list of them, got {str(token_id)[:20]}",
                where=where,
            )
    if len(ids) > _MOST_ENDS:
        raise ArtifactError("eos_token_id lists too many tokens", where=where)
    return ids


def _templates(files: Mapping[str, bytes], config: Mapping[str, Any], root: Path) -> dict[str, str]:
    """Return the chat templates by name; files go before the config."""
    found = _named(config.get("chat_template"), root / TOKENIZER_CONFIG)
    if OLD_TEMPLATE in files:
        old = _object(files, OLD_TEMPLATE, root).get("chat_template")
        found |= _named(old, root / OLD_TEMPLATE)
    if TEMPLATE in files:
        found["default"] = _text(files[TEMPLATE], root / TEMPLATE)
    for path in sorted(files):
        folder, _, name = path.rpartition("/")
        if folder == FURTHER_TEMPLATES and name.endswith(".jinja"):
            found[name.removesuffix(".jinja")] = _text(files[path], root / path)
    if len(found) > _MOST_TEMPLATES:
        raise ArtifactError(f"has {len(found)} chat templates", where=root)
    for name, source in found.items():
        if not 1 <= len(name) <= _LONGEST_NAME or len(source) > _LONGEST_TEMPLATE:
            raise ArtifactError(f"chat template {name[:40]!r} is too long", where=root)
    return found


def _named(value: Any, where: Path) -> dict[str, str]:
    """Return one template as "default", or a list of named ones by name."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {"default": value}
    named = {}
    items: list[Any] = value if isinstance(value, list) else [None]
    for item in items:
        pair = isinstance(item, dict) and item.keys() == {"name", "template"}
        if not pair or not all(isinstance(text, str) for text in item.values()):
            raise ArtifactError(
                "chat_template must be a text, or a list of objects with name and template",
                where=where,
            )
        named[item["name"]] = item["template"]
    return named
