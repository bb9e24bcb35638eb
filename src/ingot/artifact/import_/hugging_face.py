"""Hugging Face folders: config, weights and tokenizer as ``save_pretrained`` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ingot.artifact.format.manifest import CONFIG, GENERATION_CONFIG, MAX_BYTES, Origin
from ingot.artifact.import_.adapter import adapted
from ingot.artifact.import_.checkpoint import Checkpoint
from ingot.artifact.import_.compressed import QUANTIZATION, CompressedWeights, Scheme, read_scheme
from ingot.artifact.import_.families import ForeignModel, read_family
from ingot.artifact.import_.opened_model import OpenedModel
from ingot.artifact.import_.origin import LICENSE_FILE, read_card
from ingot.artifact.import_.source_folder import SourceFolder
from ingot.artifact.import_.weights import ForeignWeights, tensors_of
from ingot.errors import ArtifactError
from ingot.model.generation_config import GenerationDefaults
from ingot.model.tokenizer import Tokenizer
from ingot.model.tokenizer_files import FILES as TOKENIZER_FILES
from ingot.model.tokenizer_files import read_tokenizer
from ingot.strict_json import parse_object

_LARGEST_LICENSE = 1 << 20
_LARGEST_TEMPLATE = 4 << 20


class SourceName(NamedTuple):
    """What provenance calls a model, beyond the path of its folder."""

    source: str
    """``hf:ORG/NAME``, or the folder's own name."""
    revision: str | None = None
    """Commit on the hub."""


@contextmanager
def open_folder(
    path: Path, *, name: SourceName | None = None, adapter: Path | None = None
) -> Iterator[OpenedModel]:
    """Open the model of a folder inside the block.

    Tensors are read one at a time. What is a constant factor of the family becomes part of the
    weights, in float32, before anything is rounded. No code of the folder is run.

    Args:
        path: The folder.
        name: What to call it in provenance; its own name by default.
        adapter: Folder of a PEFT adapter that is merged into the weights.

    Raises:
        ArtifactError: the model is of no known family, a key or tensor of it is not understood or
            missing, or a file is malformed, a link out of the folder, or changes meanwhile.
    """
    with ExitStack() as opened:
        folder = opened.enter_context(SourceFolder(path))
        model, scheme = read_config(folder)
        files = opened.enter_context(Checkpoint(folder))
        weights: ForeignWeights = files if scheme is None else CompressedWeights(files, scheme)
        folders = [folder]
        if adapter is not None:
            folders.append(opened.enter_context(SourceFolder(adapter)))
            weights = adapted(weights, folders[1])
        tensors = tensors_of(model, weights, path)
        tokenizer, generation = _tokenizer(folder, model), _generation(folder)
        origin = _origin(folder, model, name)
        if adapter is not None:
            origin = origin.model_copy(update={"adapter": folders[1].digests()})

        def confirm() -> None:
            for each in folders:
                each.check_unchanged()

        yield OpenedModel(model.config, tensors, tokenizer, generation, origin, confirm)


def read_config(folder: SourceFolder) -> tuple[ForeignModel, Scheme | None]:
    """Return the model that a folder's ``config.json`` describes, and how it was quantized.

    Raises:
        ArtifactError: the file is missing or malformed, or as ``read_family`` and ``read_scheme``.
    """
    if CONFIG not in folder.names:
        raise ArtifactError(
            f"holds no {CONFIG}", where=folder.path, fix="name a folder made by save_pretrained"
        )
    where, data = folder.path / CONFIG, _object(folder, CONFIG)
    quantization = data.pop(QUANTIZATION, None)
    if quantization is None:
        return read_family(data, where=where), None
    if not isinstance(quantization, dict):
        raise ArtifactError(f"{QUANTIZATION} is not an object", where=where)
    scheme = read_scheme(quantization, where=where)
    return read_family(data, where=where), scheme


def _object(folder: SourceFolder, name: str) -> dict[str, Any]:
    data = folder.read(name, max_bytes=MAX_BYTES[name])
    return parse_object(data, where=folder.path / name)


def _tokenizer(folder: SourceFolder, model: ForeignModel) -> Tokenizer:
    """Return the tokenizer, with what the folder says of its special tokens and templates."""
    files = {
        name: folder.read(name, max_bytes=MAX_BYTES.get(name, _LARGEST_TEMPLATE))
        for name in TOKENIZER_FILES
        if name in folder.names
    }
    return read_tokenizer(files, rows=model.config.vocab_size, where=folder.path)


def _generation(folder: SourceFolder) -> GenerationDefaults:
    """Return how the model's makers would sample it."""
    if GENERATION_CONFIG not in folder.names:
        return GenerationDefaults()
    data = folder.read(GENERATION_CONFIG, max_bytes=MAX_BYTES[GENERATION_CONFIG])
    return GenerationDefaults.parse(data, where=folder.path / GENERATION_CONFIG)


def _origin(folder: SourceFolder, model: ForeignModel, name: SourceName | None) -> Origin:
    """Return the provenance of a folder, with the digest of every file that was opened."""
    card = read_card(folder)
    for other in sorted(folder.names):
        if LICENSE_FILE.fullmatch(other):
            folder.read(other, max_bytes=_LARGEST_LICENSE)
    named = name or SourceName(folder.path.absolute().name)
    return Origin(
        source=named.source[:1000],
        family=model.family,
        revision=named.revision,
        license=card.get("license_name") or card.get("license"),
        base_model=card.get("base_model"),
        files=folder.digests(),
    )
