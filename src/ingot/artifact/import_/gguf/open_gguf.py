"""A GGUF file as a model that can be sealed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingot.artifact.format.manifest import FileRecord, Origin
from ingot.artifact.import_.gguf.container import GgufFile
from ingot.artifact.import_.gguf.metadata import Metadata
from ingot.artifact.import_.gguf.model import GgufModel
from ingot.artifact.import_.gguf.tokenizer import read_tokenizer
from ingot.artifact.import_.opened_model import OpenedModel
from ingot.model import Tokenizer
from ingot.model.generation_config import GenerationDefaults
from ingot.model.special_tokens import SpecialTokens

_SAMPLING = {
    "temperature": "temp",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}
"""Names of ``generation_config.json``, and of the keys under ``general.sampling``."""
_LONGEST = 1000  # characters of what goes into the record
_NAME = 200


@contextmanager
def open_gguf(path: Path) -> Iterator[OpenedModel]:
    """Open the model of a GGUF file inside the block.

    Tensors are read and dequantized one at a time, to float32. What is a constant factor of the
    architecture becomes part of the weights, before anything is rounded.

    Raises:
        ArtifactError: the file is truncated or malformed, of an architecture or with a tokenizer
            that is not supported, has a key or tensor that is not understood, or changes meanwhile.
    """
    with GgufFile(path) as file:
        metadata = Metadata(file.metadata, path)
        model = GgufModel(file, metadata)
        tokenizer = _tokenizer(metadata, model.config.vocab_size, path)
        record = FileRecord(bytes=file.nbytes, sha256=file.sha256())
        origin = Origin(
            source=path.absolute().name[-_NAME:],
            family=model.family,
            license=_text(metadata, "general.license.name") or _text(metadata, "general.license"),
            base_model=_base_model(metadata),
            files={path.absolute().name[-_NAME:]: record},
        )
        yield OpenedModel(
            model.config,
            model.tensors,
            tokenizer,
            _sampling(metadata, path),
            origin,
            file.check_unchanged,
        )


def _tokenizer(metadata: Metadata, rows: int, path: Path) -> Tokenizer:
    found = read_tokenizer(metadata, rows)
    templates = {} if found.chat_template is None else {"default": found.chat_template}
    return Tokenizer.from_json(
        found.tokenizer_json,
        SpecialTokens(found.names, found.adds_bos, tuple(sorted(found.stop_ids))),
        where=path,
        max_tokens=rows,
        rows=rows,
        chat_templates=templates,
    )


def _sampling(metadata: Metadata, path: Path) -> GenerationDefaults:
    """Return how the model's makers would sample it, where the file says so."""
    prefix = "general.sampling."
    given = metadata.plain(prefix)
    known = {name: given.get(prefix + key) for name, key in _SAMPLING.items()}
    return GenerationDefaults.parse(json.dumps(known).encode(), where=path)


def _base_model(metadata: Metadata) -> str | None:
    """Return what the file says of the model that it was made from: its address, or its name."""
    first = "general.base_model.0"
    return (
        _text(metadata, f"{first}.repo_url")
        or "/".join(
            filter(None, (_text(metadata, f"{first}.{key}") for key in ("organization", "name")))
        )
        or None
    )


def _text(metadata: Metadata, key: str) -> str | None:
    """Return a text for the record; None if there is none or it is of another type."""
    value = metadata.plain(key).get(key)
    return value[:_LONGEST] if isinstance(value, str) and value else None
