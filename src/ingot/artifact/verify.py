"""Checking an ingot without using it."""

from __future__ import annotations

from pathlib import Path

from ingot.artifact.format.manifest import Manifest
from ingot.artifact.ingot import open_ingot


def verify(path: Path) -> Manifest:
    """Hash every file and tensor of an ingot and return its manifest if all is as sealed.

    Raises:
        ArtifactError: names the first tensor or file that differs, is missing, does not belong
            or holds a value that is not finite.
    """
    with open_ingot(path) as ingot:
        ingot.verify_files()
        return ingot.manifest
