"""A detached signature file: a Sigstore bundle around a DSSE envelope with one ECDSA signature.

OpenSSF Model Signing 1.0 (github.com/ossf/model-signing-spec), sections 4, 6.7 and 8.1; DSSE 1.0
(github.com/secure-systems-lab/dsse). Of its three methods this is ``key``: certificates and
Sigstore's online identities are refused by name.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingot.errors import ArtifactError
from ingot.strict_json import parse_object

if TYPE_CHECKING:  # which need an extra that reading a signature does not
    from ingot.artifact.signing.keys import PrivateKey, PublicKey

MAX_BYTES = 1 << 20
"""Largest signature file, some thousand times what an ingot needs."""

_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MAX_VALUES = 50_000
_MAX_SIGNATURE = 1024  # bytes of DER: one of P-521 has 141
# Evidence of a transparency log or time stamp, which the method `key` does not use (section 4.1).
_UNUSED = {"tlogEntries", "timestampVerificationData"}


@dataclass(frozen=True)
class Bundle:
    """What a signature file says, its signature not checked yet."""

    payload: bytes
    """The signed bytes: an in-toto statement."""
    signature: bytes
    """ECDSA, as DER."""
    hint: str | None
    """Names the key; None in bundles before version 1.1."""

    def signed_by(self, keys: Sequence[PublicKey], *, where: object) -> PublicKey:
        """Return the key that signed it.

        Raises:
            ArtifactError: none of ``keys`` did, or what was signed was changed.
        """
        named = [key for key in keys if self.hint in (None, key.hint)]
        if not named:
            raise ArtifactError(
                f"is signed with another key ({str(self.hint)[:12]}) than {_listed(keys)}",
                where=where,
                fix="use the public key of its signer, if you trust that",
            )
        message = _pre_authentication_encoding(self.payload)
        for key in named:
            if key.verifies(self.signature, message):
                return key
        raise ArtifactError(
            f"is not a valid signature of {_listed(named)}",
            where=where,
            fix="fetch it again, or ask the signer",
        )


def sign(payload: bytes, key: PrivateKey) -> bytes:
    """Return the signature file of an in-toto statement."""
    signature = key.sign(_pre_authentication_encoding(payload))
    bundle = {
        "mediaType": _MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.hint}},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle, indent=1).encode() + b"\n"


def parse(data: bytes, *, where: object) -> Bundle:
    """Read a signature file of at most ``MAX_BYTES``.

    Raises:
        ArtifactError: it is malformed, or of a method other than ``key``.
    """
    found = _Reader(parse_object(data, where=where, max_values=_MAX_VALUES), "the bundle", where)
    found.only("mediaType", "verificationMaterial", "dsseEnvelope")
    if found.text("mediaType") != _MEDIA_TYPE:
        raise found.wrong(f"mediaType is not {_MEDIA_TYPE}")
    material, envelope = found.object("verificationMaterial"), found.object("dsseEnvelope")
    hint = _hint(material)
    envelope.only("payload", "payloadType", "signatures")
    if envelope.text("payloadType") != _PAYLOAD_TYPE:
        raise envelope.wrong(f"payloadType is not {_PAYLOAD_TYPE}")
    signatures = envelope.value("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise envelope.wrong("signatures does not hold exactly one")
    signature = _Reader(signatures[0], "signatures[0]", where)
    signature.only("sig", "keyid", optional=("keyid",))
    if signature.fields.get("keyid") is not None and signature.fields["keyid"] != "":
        signature.text("keyid")  # it may name the key, but is not signed itself
    der = signature.base64("sig")
    if len(der) > _MAX_SIGNATURE:
        raise signature.wrong(f"sig has more than {_MAX_SIGNATURE} bytes")
    return Bundle(envelope.base64("payload"), der, hint)


def _hint(material: _Reader) -> str | None:
    """Return what names the key; refuse the methods that are not ``key``."""
    for method in ("certificate", "x509CertificateChain"):
        if method in material.fields:
            raise ArtifactError(
                f"is signed with a {method}, which Ingot does not check",
                where=material.where,
                fix="check it with model_signing, or have it signed with a key",
            )
    material.only("publicKey", *_UNUSED, optional=_UNUSED)
    key = material.object("publicKey")
    if "hint" in key.fields:
        return key.text("hint")
    key.text("rawBytes")  # before version 1.1; the key given is used, so there is nothing to read
    return None


def _pre_authentication_encoding(payload: bytes) -> bytes:
    """Return what is signed: DSSE's encoding of type and payload, each with its length."""
    kind = _PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _listed(keys: Sequence[PublicKey]) -> str:
    return " or ".join(str(key.path) for key in keys)


class _Reader:
    """One object of the file, its fields read with their types checked."""

    def __init__(self, fields: Any, name: str, where: object) -> None:
        self.where, self._name = where, name
        if not isinstance(fields, dict):
            raise self.wrong("is not an object")
        self.fields: dict[str, Any] = fields

    def wrong(self, what: str) -> ArtifactError:
        return ArtifactError(
            f"is not a signature of a model ({self._name}: {what})", where=self.where
        )

    def only(self, *names: str, optional: Sequence[str] | set[str] = ()) -> None:
        """Refuse missing and unknown fields by name."""
        for name in names:
            if name not in self.fields and name not in optional:
                raise self.wrong(f"{name} is missing")
        for name in self.fields:
            if name not in names:
                raise self.wrong(f"unknown field {name[:80]!r}")

    def value(self, name: str) -> Any:
        if name not in self.fields:
            raise self.wrong(f"{name} is missing")
        return self.fields[name]

    def text(self, name: str) -> str:
        value = self.value(name)
        if not isinstance(value, str) or not value:
            raise self.wrong(f"{name} is not a text")
        return value

    def object(self, name: str) -> _Reader:
        return _Reader(self.value(name), name, self.where)

    def base64(self, name: str) -> bytes:
        """Return the bytes of a field in base64, standard or URL-safe (DSSE permits both)."""
        text = self.text(name).replace("-", "+").replace("_", "/")
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise self.wrong(f"{name} is not base64") from error
