"""A model's source as an ingot: what is one already, and what is imported first."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from ingot.artifact.source_kind import is_foreign

PathLike = str | os.PathLike[str]
Say = Callable[[str], None]

_log = logging.getLogger(__name__)


def as_ingot(source: PathLike, say: Say = _log.info) -> Path:
    """Return the path of an ingot as it is, and of any other model as an ingot in the cache.

    Args:
        source: An ingot, or what ``ingot.api.importing.import_model`` takes.
        say: Told what is imported, and where to.

    Raises:
        ArtifactError, ResourceError: as ``import_model``.
    """
    if not is_foreign(source):
        return Path(source)
    # Fifty modules that an ingot does not need, a tenth of the time to its first token.
    from ingot.api.importing import imported  # noqa: PLC0415

    ingot = imported(source, say)
    say(f"{os.fspath(source)} is used as {ingot}")
    return ingot
