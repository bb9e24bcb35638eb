"""With the reference implementation, model_signing of the Sigstore project, in both directions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ingot.api.ingots import sign
from ingot.artifact import TrustedKeys, signature_path, verify
from ingot.errors import ArtifactError
from tests.artifact.signing.conftest import KeyPair, MakeKeys

model_signing = pytest.importorskip("model_signing")


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: str(curve.name)
)
def test_the_reference_verifies_ours(
    ingot_copy: Path, make_keys: MakeKeys, curve: ec.EllipticCurve
) -> None:
    keys = make_keys(curve)
    written = sign(ingot_copy, keys.private)
    check = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=keys.public)
    check.verify(ingot_copy, written)
    (ingot_copy / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"config\.json"):
        check.verify(ingot_copy, written)


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: str(curve.name)
)
def test_we_verify_the_references(
    ingot_copy: Path, make_keys: MakeKeys, curve: ec.EllipticCurve
) -> None:
    keys = make_keys(curve)
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=keys.private)
    signer.sign(ingot_copy, signature_path(ingot_copy))
    verify(ingot_copy, TrustedKeys.read([keys.public]))


def test_a_signature_that_leaves_a_file_out_is_refused(ingot_copy: Path, keys: KeyPair) -> None:
    out = signature_path(ingot_copy)
    hashing = model_signing.hashing.Config().set_ignored_paths(
        paths=[ingot_copy / "model.safetensors"], ignore_git_paths=True
    )
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=keys.private)
    signer.set_hashing_config(hashing).sign(ingot_copy, out)
    with pytest.raises(ArtifactError, match=r"model\.safetensors: is not signed by"):
        verify(ingot_copy, TrustedKeys.read([keys.public]))


def test_shards_are_refused_with_a_reason(ingot_copy: Path, keys: KeyPair) -> None:
    out = signature_path(ingot_copy)
    hashing = model_signing.hashing.Config().use_shard_serialization(shard_size=1_000_000)
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=keys.private)
    signer.set_hashing_config(hashing).sign(ingot_copy, out)
    assert json.loads(out.read_bytes())["mediaType"].endswith("v0.3+json")
    with pytest.raises(ArtifactError, match="signs files in shards, which Ingot does not check"):
        verify(ingot_copy, TrustedKeys.read([keys.public]))
