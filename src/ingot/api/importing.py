"""Importing from Python: models of other programs in, ingots out. Needs no PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ingot.artifact import Ingot, Scheme, WeightFormat, check_target, parse_scheme
from ingot.artifact.format.manifest import Dtype
from ingot.artifact.import_ import (
    OpenedModel,
    SourceName,
    cached_ingot,
    fetch,
    open_folder,
    open_gguf,
    remember,
    remembered,
)
from ingot.artifact.source_kind import is_gguf, is_hub_name
from ingot.errors import UsageError

PathLike = str | os.PathLike[str]


def import_model(
    source: PathLike,
    out: PathLike,
    *,
    dtype: Dtype = "bfloat16",
    quantize: Scheme | WeightFormat | None = None,
    adapter: PathLike | None = None,
    overwrite: bool = False,
) -> Ingot:
    """Make an ingot of a model of another program; return it, open, for use in a ``with``.

    Args:
        source: A Hugging Face folder, a GGUF file, or a model of the hub as
            ``hf:ORG/NAME[@REVISION]``.
        out: The ingot to make.
        dtype: Number format to store: "bfloat16" or "float32".
        quantize: What to store matrices as, such as ``"int8"``, rounded to nearest.
        adapter: A PEFT adapter to merge, as a folder or a name on the hub.
        overwrite: Replace an ingot that is at ``out``.

    Raises:
        ArtifactError: the model is of no known family, a key or tensor of it is not understood, a
            file is malformed, or the hub cannot be reached.
        UsageError: ``out`` exists already, or its parent does not.
        ResourceError: the disk is full.
    """
    scheme = parse_scheme(quantize, None, ()) if isinstance(quantize, str) else quantize
    check_target(Path(out), overwrite=overwrite)  # before a download
    with opened_model(source, adapter=adapter) as opened:
        return opened.seal(Path(out), dtype=dtype, scheme=scheme, overwrite=overwrite)


@contextmanager
def opened_model(source: PathLike, *, adapter: PathLike | None = None) -> Iterator[OpenedModel]:
    """Open a model of another program inside the block; arguments as ``import_model``."""
    path, name = located(source)
    merged = None if adapter is None else located(adapter, adapter=True)[0]
    with _opened(path, name, merged) as opened:
        yield opened


def _opened(
    path: Path, name: SourceName | None, adapter: Path | None = None
) -> AbstractContextManager[OpenedModel]:
    """Open a folder or a GGUF file, whichever is there."""
    if not is_gguf(path):
        return open_folder(path, name=name, adapter=adapter)
    if adapter is not None:
        raise UsageError(
            "cannot be merged into a GGUF file",
            where=adapter,
            fix="import the model's Hugging Face folder with it",
        )
    return open_gguf(path)


def located(source: PathLike, *, adapter: bool = False) -> tuple[Path, SourceName | None]:
    """Return the path of a source, fetched if it is a name on the hub, and what to call it."""
    text = os.fspath(source)
    return fetch(text, adapter=adapter) if is_hub_name(text) else (Path(text), None)


def imported(source: PathLike, say: Callable[[str], None]) -> Path:
    """Return the ingot in the cache of a model of another program; make it if it is not there.

    Args:
        source: As for ``import_model``.
        say: Told what is imported, and where to.

    Raises:
        ArtifactError, ResourceError: as ``import_model``.
    """
    path, name = located(source)
    ingot = remembered(path)
    if ingot is None:
        with _opened(path, name) as opened:
            ingot = cached_ingot(opened, say)
        remember(path, ingot)
    return ingot
