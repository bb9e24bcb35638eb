from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ingot.artifact.signing.keys import PrivateKey, PublicKey
from ingot.errors import UsageError
from tests.artifact.signing.conftest import KeyPair, MakeKeys


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: str(curve.name)
)
def test_each_curve_signs(make_keys: MakeKeys, curve: ec.EllipticCurve) -> None:
    pair = make_keys(curve)
    private, public = PrivateKey.read(pair.private), PublicKey.read(pair.public)
    assert private.hint == public.hint
    signature = private.sign(b"message")
    assert public.verifies(signature, b"message")
    assert not public.verifies(signature, b"massage")
    assert not public.verifies(b"", b"message")
    assert not public.verifies(signature[:-1], b"message")


def test_openssl_checks_the_signature(keys: KeyPair, tmp_path: Path) -> None:
    (tmp_path / "message").write_bytes(b"message")
    (tmp_path / "signature").write_bytes(PrivateKey.read(keys.private).sign(b"message"))
    command = ["openssl", "dgst", "-sha256", "-verify", keys.public, "-signature", "signature"]
    done = subprocess.run([*command, "message"], cwd=tmp_path, capture_output=True, check=False)
    assert done.stdout == b"Verified OK\n"


def test_an_encrypted_key_needs_its_password(
    make_keys: MakeKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make_keys(password=b"open sesame")
    monkeypatch.delenv("INGOT_KEY_PASSWORD", raising=False)
    with pytest.raises(UsageError, match="is encrypted; set INGOT_KEY_PASSWORD to its password"):
        PrivateKey.read(pair.private)
    monkeypatch.setenv("INGOT_KEY_PASSWORD", "open barley")
    with pytest.raises(UsageError, match="is not a private key, or its password is wrong"):
        PrivateKey.read(pair.private)
    monkeypatch.setenv("INGOT_KEY_PASSWORD", "open sesame")
    assert PrivateKey.read(pair.private).hint == PublicKey.read(pair.public).hint


def test_the_wrong_half_is_refused(keys: KeyPair) -> None:
    with pytest.raises(UsageError, match="is a private key where the public one belongs"):
        PublicKey.read(keys.private)
    with pytest.raises(UsageError, match="is a public key where the private one belongs"):
        PrivateKey.read(keys.public)


def test_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    for key, said in (
        (ec.generate_private_key(ec.SECP256K1()), "is on the curve secp256k1"),
        (ed25519.Ed25519PrivateKey.generate(), "is not an elliptic-curve key"),
        (rsa.generate_private_key(65537, 2048), "is not an elliptic-curve key"),
    ):
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        with pytest.raises(UsageError, match=said):
            PrivateKey.read(path)
        public = key.public_key()
        path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        with pytest.raises(UsageError, match=said):
            PublicKey.read(path)


@pytest.mark.parametrize(
    "text", ["", "text", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.pem"
    path.write_text(text)
    with pytest.raises(UsageError, match="is not a public key; use a P-256"):
        PublicKey.read(path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.touch()
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="is longer than 65,536 bytes"):
        PublicKey.read(path)
    with pytest.raises(UsageError, match="cannot be read"):
        PublicKey.read(tmp_path / "absent.pem")
