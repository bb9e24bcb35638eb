"""The published test vectors and schemas of OpenSSF Model Signing 1.0."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from ingot.artifact.signing import bundle
from ingot.artifact.signing.keys import PrivateKey, PublicKey
from ingot.artifact.signing.statement import signed_digests, statement
from ingot.errors import ArtifactError
from tests.artifact.signing.conftest import MakeKeys

HERE = Path(__file__).parent / "specification"
VECTORS = HERE / "test-vectors" / "v1.0"
KEY = HERE / "reference" / "signing-key-pub.pem"


def checked(path: Path) -> dict[str, str]:
    """The digests that a file signs, its signature checked with the key of the vectors."""
    signed = bundle.parse(path.read_bytes(), where=path)
    signed.signed_by([PublicKey.read(KEY)], where=path)
    return signed_digests(signed.payload, where=path)


def test_the_valid_vector_of_the_method_key() -> None:
    digests = checked(VECTORS / "valid" / "key.bundle.json")
    assert list(digests) == ["signme-1", "signme-2"]


@pytest.mark.parametrize("version", ["v1.0.1", "v1.1.0"])
def test_models_signed_by_the_reference_implementation(version: str) -> None:
    """Of 1.0.1 the bundle holds the key itself and no hint."""
    model = HERE / "reference" / f"{version}-elliptic-key"
    assert checked(model / "model.sig") == {
        name: hashlib.sha256((model / name).read_bytes()).hexdigest()
        for name in ("signme-1", "signme-2")
    }


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        ("valid/certificate", "is signed with a x509CertificateChain, which Ingot does not check"),
        ("valid/sigstore", "is signed with a certificate, which Ingot does not check"),
        ("invalid/empty", "is not valid JSON"),
        ("invalid/missing-envelope", "dsseEnvelope is missing"),
        ("invalid/missing-tlog-entries", "is signed with a certificate"),
        ("invalid/missing-verification-material", "verificationMaterial is missing"),
        ("invalid-payload/wrong-predicate", "is not a valid signature"),
    ],
)
def test_vectors_that_are_refused(vector: str, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        checked(VECTORS / f"{vector}.bundle.json")


def test_another_predicate_is_refused_even_if_it_is_signed() -> None:
    path = VECTORS / "invalid-payload" / "wrong-predicate.bundle.json"
    payload = bundle.parse(path.read_bytes(), where=path).payload
    with pytest.raises(ArtifactError, match="predicateType is not https://model_signing/sig"):
        signed_digests(payload, where=path)


def test_what_is_written_fits_the_schemas(make_keys: MakeKeys) -> None:
    schemas = {path.name: json.loads(path.read_text()) for path in HERE.glob("schemas/*/*.json")}
    registry: Registry[Any] = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in schemas.values()
    )
    written = bundle.sign(
        statement("a model", {"b": "2" * 64, "a": "1" * 64}), PrivateKey.read(make_keys().private)
    )
    content = json.loads(written)
    for name, value in (
        ("bundle", content),
        ("statement", json.loads(base64.b64decode(content["dsseEnvelope"]["payload"]))),
    ):
        schema = schemas[f"{name}.schema.json"]
        Draft202012Validator(schema, registry=registry).validate(value)
