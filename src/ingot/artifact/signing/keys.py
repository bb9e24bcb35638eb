"""Elliptic-curve keys from PEM files: what signs an ingot, and what checks the signature.

The curves are those of OpenSSF Model Signing 1.0 (its Algorithm Registry): P-256, P-384 and P-521,
with ECDSA over SHA-256, SHA-384 and SHA-512.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ingot.errors import UsageError
from ingot.files import read_regular

PASSWORD = "INGOT_KEY_PASSWORD"  # noqa: S105 (the name of a variable)
"""Environment variable with the password of a private key that is encrypted."""

_MAX_BYTES = 64 << 10
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
_WANTED = "use a P-256, P-384 or P-521 key in PEM: openssl ecparam -genkey -name prime256v1 -noout"


@dataclass(frozen=True)
class PublicKey:
    """A key that checks signatures."""

    path: Path
    hint: str
    """SHA-256 of the key as PEM text, in hexadecimal; signatures name their key by it."""
    _key: ec.EllipticCurvePublicKey = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> PublicKey:
        """Read a public key.

        Raises:
            UsageError: the file cannot be read, holds no public key, or one of another kind.
        """
        data = read_regular(path, UsageError, max_bytes=_MAX_BYTES)
        if b"PRIVATE KEY-----" in data:
            raise UsageError(
                "is a private key where the public one belongs",
                where=path,
                fix=f"write that with: openssl pkey -in {path.name} -pubout",
            )
        key: ec.EllipticCurvePublicKey = _parsed(load_pem_public_key, data, path, "public")
        return cls(path, _hint(key), key)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether a DER signature over ``message`` was made with this key's private one."""
        try:
            self._key.verify(signature, message, _ecdsa(self._key.curve))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs."""

    path: Path
    hint: str
    """That of its public key."""
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> PrivateKey:
        """Read a private key. The password of an encrypted one is in ``INGOT_KEY_PASSWORD``.

        Raises:
            UsageError: the file cannot be read, holds no private key, one of another kind, or one
                that the password does not open.
        """
        data = read_regular(path, UsageError, max_bytes=_MAX_BYTES)
        if b"PUBLIC KEY-----" in data:
            raise UsageError(
                "is a public key where the private one belongs", where=path, fix="name that"
            )
        password = None
        if b"ENCRYPTED" in data:
            password = os.environ.get(PASSWORD, "").encode()
            if not password:
                raise UsageError("is encrypted", where=path, fix=f"set {PASSWORD} to its password")

        def load(pem: bytes) -> Any:
            return load_pem_private_key(pem, password)

        key: ec.EllipticCurvePrivateKey = _parsed(load, data, path, "private")
        return cls(path, _hint(key.public_key()), key)

    def sign(self, message: bytes) -> bytes:
        """Return an ECDSA signature over ``message``, as DER."""
        return self._key.sign(message, _ecdsa(self._key.curve))


def _parsed(load: Callable[[bytes], Any], data: bytes, path: Path, kind: str) -> Any:
    """Return the key of a PEM text, on one of the curves of the specification."""
    try:
        key = load(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = ", or its password is wrong" if b"ENCRYPTED" in data else ""
        raise UsageError(f"is not a {kind} key{reason}", where=path, fix=_WANTED) from error
    curve = getattr(getattr(key, "curve", None), "name", None)
    if curve not in _HASHES:
        what = f"is on the curve {curve}" if curve else "is not an elliptic-curve key"
        raise UsageError(what, where=path, fix=_WANTED)
    return key


def _ecdsa(curve: ec.EllipticCurve) -> ec.ECDSA:
    """Return the algorithm that belongs to a curve."""
    return ec.ECDSA(_HASHES[curve.name]())


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    """Return what a signature names the key by (section 4.1 of the specification)."""
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()
