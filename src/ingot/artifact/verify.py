"""Checking an ingot without using it."""

from __future__ import annotations

from pathlib import Path

from ingot.artifact.format.manifest import Manifest
from ingot.artifact.ingot import open_ingot
from ingot.artifact.signing.signature import TrustedKeys


def verify(path: Path, trusted: TrustedKeys | None = None) -> Manifest:
    """Hash every file and tensor of an ingot and return its manifest if all is as sealed.

    Args:
        path: The ingot.
        trusted: Keys of which one must have signed it; None requires no signature.

    Raises:
        ArtifactError: names the first tensor or file that differs, is missing, does not belong
            or holds a value that is not finite; or says what is wrong with the signature.
    """
    with open_ingot(path, trusted=trusted) as ingot:
        ingot.verify_files()
        return ingot.manifest
