"""The kind of a model's source: an ingot, or a model of another program.

Apart from ``artifact.import_``, so that opening an ingot loads no reader of another format.
"""

from __future__ import annotations

import os
from pathlib import Path

from ingot.artifact.format.manifest import CONFIG, MANIFEST

HUB_PREFIX = "hf:"
GGUF_SUFFIX = ".gguf"


def is_hub_name(source: str) -> bool:
    """Tell whether a source is a name on the hub, not a path."""
    return source.startswith(HUB_PREFIX)


def is_gguf(path: Path) -> bool:
    """Tell whether a path is named as a GGUF file; it need not exist."""
    return path.suffix == GGUF_SUFFIX and not path.is_dir()


def is_foreign(source: str | os.PathLike[str]) -> bool:
    """Tell whether a path or name is a model of another program, not an ingot."""
    if is_hub_name(os.fspath(source)):
        return True
    path = Path(source)
    try:
        return is_gguf(path) or ((path / CONFIG).is_file() and not (path / MANIFEST).exists())
    except (OSError, ValueError):
        return False
