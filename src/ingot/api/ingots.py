"""What one does with a sealed ingot, without running it: sign it, look into it, compare it."""

from __future__ import annotations

import os
from pathlib import Path

from ingot.artifact import read_private_key, signature_path, verify, write_signature

PathLike = str | os.PathLike[str]


def sign(
    path: PathLike, key: PathLike, *, signature: PathLike | None = None, overwrite: bool = False
) -> Path:
    """Check every digest of an ingot, then sign it (OpenSSF Model Signing 1.0).

    Args:
        path: The ingot.
        key: PEM file of a private key on P-256, P-384 or P-521; the password of an encrypted one is
            in the environment variable ``INGOT_KEY_PASSWORD``.
        signature: The signature file to write; ``PATH.sig`` beside the ingot by default.
        overwrite: Replace a signature that is there.

    Returns:
        The signature file.

    Raises:
        ArtifactError: the ingot is damaged.
        UsageError: the key cannot sign, or the signature exists already or lies in the ingot.
    """
    path = Path(path)
    out = signature_path(path) if signature is None else Path(signature)
    private = read_private_key(Path(key))  # before minutes of hashing
    write_signature(path, verify(path), private, out, overwrite=overwrite)
    return out
