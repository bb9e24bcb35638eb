"""The files beside the weights: tokenizer, chat template and defaults of generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingot.artifact import checks
from ingot.artifact.chat_template import chat_template_source
from ingot.artifact.format.folder import Folder
from ingot.artifact.format.manifest import (
    CONFIG,
    GENERATION_CONFIG,
    INDEX,
    TOKENIZER,
    TOKENIZER_CONFIG,
)
from ingot.artifact.format.shards import json_bytes
from ingot.artifact.ingot import Ingot
from ingot.errors import ArtifactError
from ingot.strict_json import parse_object

CHAT_TEMPLATE = "chat_template.jinja"
_SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


@dataclass(frozen=True)
class SmallFiles:
    """An ingot's files other than weights and config, checked against their digests."""

    files: Mapping[str, bytes]
    """As an export holds them, by name."""
    tokenizer: Mapping[str, Any]
    """``tokenizer.json``, parsed."""
    tokenizer_config: Mapping[str, Any]
    chat_template: str
    """The model's own, or the one that ``ingot serve`` takes where it has none."""
    generation: Mapping[str, Any]
    """``generation_config.json``, parsed."""

    @property
    def special_ids(self) -> dict[str, Any]:
        """``bos_token_id``, ``eos_token_id`` and ``pad_token_id``, where given."""
        return {name: self.generation[name] for name in _SPECIAL_IDS if name in self.generation}

    @property
    def eos_ids(self) -> list[int]:
        """Tokens that end an answer."""
        ids = self.generation.get("eos_token_id")
        return [ids] if isinstance(ids, int) else list(ids or ())


def read_small_files(ingot: Ingot) -> SmallFiles:
    """Read the files of an open ingot that hold no tensors.

    Raises:
        ArtifactError: one differs from its digest, or another ingot lies at the path by now.
    """
    with Folder(ingot.path) as folder:
        manifest = checks.read_manifest(folder)
        if manifest.digest != ingot.digest:
            raise ArtifactError("was replaced meanwhile", where=ingot.path, fix="export it again")
        files = checks.read_small_files(folder, manifest)
    files.pop(CONFIG)
    files.pop(INDEX, None)
    generation = parse_object(files[GENERATION_CONFIG], where=ingot.path / GENERATION_CONFIG)
    config = parse_object(files[TOKENIZER_CONFIG], where=ingot.path / TOKENIZER_CONFIG)
    template = chat_template_source(ingot)
    # Readers of before 2025 look into tokenizer_config.json, later ones into the file first.
    config.setdefault("chat_template", template)
    files[TOKENIZER_CONFIG] = json_bytes(config)
    files[CHAT_TEMPLATE] = template.encode()
    return SmallFiles(
        files=files,
        tokenizer=parse_object(
            files[TOKENIZER], where=ingot.path / TOKENIZER, max_values=_MAX_VALUES
        ),
        tokenizer_config=config,
        chat_template=template,
        generation=generation,
    )


_MAX_VALUES = 1 << 24  # the tokenizer was bounded when the ingot was opened
