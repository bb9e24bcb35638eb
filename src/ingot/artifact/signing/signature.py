"""The signature of an ingot: a file beside it that says which bytes a key's owner vouches for.

It lies beside the folder, not in it: the folder's list of files is closed and its digest covers
them all, and both stay as they are when a signature comes, goes or is renewed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ingot.artifact.format.manifest import MANIFEST, Manifest
from ingot.artifact.signing import bundle
from ingot.artifact.signing.statement import signed_digests, statement
from ingot.errors import ArtifactError, UsageError
from ingot.files import read_regular, write_atomic

if TYPE_CHECKING:
    from ingot.artifact.signing.keys import PrivateKey, PublicKey

_AGAIN = "fetch the ingot and its signature again, or ask the signer"


@dataclass(frozen=True)
class TrustedKeys:
    """The keys of which one must have signed an ingot, and where its signature lies."""

    keys: Sequence[PublicKey]
    signature: Path | None = None
    """The signature file; None takes the one beside the ingot."""

    @classmethod
    def read(cls, paths: Sequence[Path], signature: Path | None = None) -> TrustedKeys:
        """Read public keys from PEM files.

        Raises:
            UsageError: a file is not a public key of a kind that can sign ingots, or
                ``cryptography`` is not installed.
        """
        _require_cryptography()
        from ingot.artifact.signing.keys import PublicKey

        return cls(tuple(PublicKey.read(Path(path)) for path in paths), signature)


def read_private_key(path: Path) -> PrivateKey:
    """Read the key to sign with. The password of an encrypted one is in ``INGOT_KEY_PASSWORD``.

    Raises:
        UsageError: the file is not a private key of a kind that can sign ingots, or
            ``cryptography`` is not installed.
    """
    _require_cryptography()
    from ingot.artifact.signing.keys import PrivateKey

    return PrivateKey.read(path)


def signature_path(ingot: Path) -> Path:
    """Return where an ingot's signature lies: ``mine.ingot.sig`` beside ``mine.ingot``.

    A link is followed first, so that a signature stays with the folder that it signs.
    """
    folder = Path(os.path.realpath(ingot))
    return folder.with_name(f"{folder.name}.sig")


def write_signature(
    ingot: Path, manifest: Manifest, key: PrivateKey, out: Path, *, overwrite: bool
) -> None:
    """Sign an ingot that was just verified.

    Args:
        ingot: The folder, for its name.
        manifest: What was verified, which is what is signed.
        key: Signs.
        out: The signature file.
        overwrite: Replace a signature that is there.

    Raises:
        UsageError: ``out`` exists already, lies in the ingot, or cannot be written.
        ResourceError: the disk is full.
    """
    folder = Path(os.path.realpath(ingot))
    if folder in Path(os.path.realpath(out)).parents:
        raise UsageError(
            "lies in the ingot, whose list of files is closed",
            where=out,
            fix=f"put it beside, such as {signature_path(ingot)}",
        )
    if os.path.lexists(out) and not overwrite:
        raise UsageError("exists already", where=out, fix="name another file, or add --overwrite")
    name = os.fsencode(folder.name).decode(errors="replace") or "ingot"
    signed = bundle.sign(statement(name, _digests(manifest)), key)
    try:
        write_atomic(out, signed)
    except OSError as error:
        raise UsageError(
            f"cannot be written ({error.strerror})", where=out, fix="choose another folder"
        ) from error


def check_signature(ingot: Path, manifest: Manifest, trusted: TrustedKeys) -> PublicKey:
    """Check that a trusted key signed exactly the files that a manifest lists, and the manifest.

    The files themselves are then checked against the manifest, wherever they are read.

    Returns:
        The key that signed.

    Raises:
        ArtifactError: there is no signature, or it is malformed, of another key, or of other files.
    """
    where = trusted.signature or signature_path(ingot)
    if not os.path.lexists(where):
        raise ArtifactError(
            f"is not signed: {where.name} is missing",
            where=ingot,
            fix=f"put the signature at {where}, or sign it: ingot sign {ingot} --key private.pem",
        )
    data = read_regular(where, ArtifactError, max_bytes=bundle.MAX_BYTES)
    signed = bundle.parse(data, where=where)
    key = signed.signed_by(trusted.keys, where=where)
    _compare(signed_digests(signed.payload, where=where), _digests(manifest), ingot, where)
    return key


def _digests(manifest: Manifest) -> dict[str, str]:
    """Return the SHA-256 of every file of an ingot, the manifest included."""
    digests = {name: record.sha256 for name, record in manifest.files.items()}
    return digests | {MANIFEST: hashlib.sha256(manifest.to_json()).hexdigest()}


def _compare(signed: dict[str, str], found: dict[str, str], ingot: Path, where: Path) -> None:
    """Refuse an ingot whose files are not those that were signed; name the first."""
    for name in sorted(found.keys() - signed.keys()):
        raise ArtifactError(f"is not signed by {where}", where=ingot / name, fix=_AGAIN)
    for name in sorted(signed.keys() - found.keys()):
        raise ArtifactError(
            f"signs {name[:80]!r}, which is not in the ingot", where=where, fix=_AGAIN
        )
    # The manifest last: any other difference makes it differ too.
    for name in sorted(found, key=lambda name: (name == MANIFEST, name)):
        if signed[name] != found[name]:
            raise ArtifactError(
                f"is not the file that was signed in {where}", where=ingot / name, fix=_AGAIN
            )


def _require_cryptography() -> None:
    """Refuse to go on without the library of an extra."""
    if find_spec("cryptography") is None:
        raise UsageError(
            "needs cryptography, which is not installed",
            where="signature",
            fix="pip install 'ingot[sign]'",
        )
