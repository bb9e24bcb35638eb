from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ingot.artifact.signing import bundle
from ingot.artifact.signing.keys import PrivateKey, PublicKey
from ingot.errors import ArtifactError
from tests.artifact.signing.conftest import KeyPair


def edited(keys: KeyPair, edit: Callable[[dict[str, Any]], object]) -> bytes:
    content = json.loads(bundle.sign(b"payload", PrivateKey.read(keys.private)))
    edit(content)
    return json.dumps(content).encode()


def test_a_round_trip(keys: KeyPair, other_keys: KeyPair) -> None:
    signed = bundle.parse(bundle.sign(b"payload", PrivateKey.read(keys.private)), where="x.sig")
    public, other = PublicKey.read(keys.public), PublicKey.read(other_keys.public)
    assert signed.payload == b"payload"
    assert signed.signed_by([other, public], where="x.sig") is public
    with pytest.raises(ArtifactError, match=r"^x.sig: is signed with another key \([0-9a-f]{12}\)"):
        signed.signed_by([other], where="x.sig")


def test_a_signature_of_something_else_is_refused(keys: KeyPair) -> None:
    private, public = PrivateKey.read(keys.private), PublicKey.read(keys.public)
    good = bundle.parse(bundle.sign(b"payload", private), where="x.sig")
    for forged in (
        bundle.Bundle(b"another", good.signature, good.hint),
        bundle.Bundle(good.payload, private.sign(b"payload"), good.hint),  # without type and length
        bundle.Bundle(b"", good.signature, None),
    ):
        with pytest.raises(ArtifactError, match="is not a valid signature of"):
            forged.signed_by([public], where="x.sig")


def test_without_a_hint_every_key_is_tried(keys: KeyPair, other_keys: KeyPair) -> None:
    data = edited(
        keys,
        lambda it: it["verificationMaterial"].update(publicKey={"rawBytes": "x", "more": 1}),
    )
    signed = bundle.parse(data, where="x.sig")
    public, other = PublicKey.read(keys.public), PublicKey.read(other_keys.public)
    assert signed.signed_by([other, public], where="x.sig") is public
    with pytest.raises(ArtifactError, match="is not a valid signature of"):
        signed.signed_by([other], where="x.sig")


@pytest.mark.parametrize("keyid", ["", None, "a name"])
def test_a_name_of_the_key_in_the_envelope_is_ignored(keys: KeyPair, keyid: object) -> None:
    data = edited(keys, lambda it: it["dsseEnvelope"]["signatures"][0].update(keyid=keyid))
    assert bundle.parse(data, where="x.sig").payload == b"payload"
    data = edited(keys, lambda it: it["dsseEnvelope"]["signatures"][0].pop("keyid"))
    assert bundle.parse(data, where="x.sig").payload == b"payload"


def test_url_safe_base64_is_read(keys: KeyPair) -> None:
    data = edited(keys, lambda it: it["dsseEnvelope"].update(payload="-_-_"))
    assert bundle.parse(data, where="x.sig").payload == b"\xfb\xff\xbf"


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda it: it.pop("mediaType"), "the bundle: mediaType is missing"),
        (lambda it: it.update(mediaType="text/plain"), "the bundle: mediaType is not application"),
        (lambda it: it.update(more=1), "the bundle: unknown field 'more'"),
        (lambda it: it.update(verificationMaterial=[]), "verificationMaterial: is not an object"),
        (lambda it: it["verificationMaterial"].clear(), "publicKey is missing"),
        (lambda it: it["verificationMaterial"].update(publicKey={}), "rawBytes is missing"),
        (
            lambda it: it["verificationMaterial"].update(publicKey={"hint": 7}),
            "publicKey: hint is not a text",
        ),
        (lambda it: it["verificationMaterial"].update(x=1), "unknown field 'x'"),
        (lambda it: it["verificationMaterial"].update(certificate={}), "signed with a certificate"),
        (
            lambda it: it["dsseEnvelope"].update(payloadType="text"),
            "payloadType is not appl",
        ),
        (lambda it: it["dsseEnvelope"].update(payload="?"), "payload is not base64"),
        (lambda it: it["dsseEnvelope"].update(payload="é"), "payload is not base64"),
        (lambda it: it["dsseEnvelope"].update(signatures=[]), "does not hold exactly one"),
        (lambda it: it["dsseEnvelope"]["signatures"].append({}), "does not hold exactly one"),
        (lambda it: it["dsseEnvelope"].update(signatures=[1]), "is not an object"),
        (lambda it: it["dsseEnvelope"]["signatures"][0].update(sig="A" * 2000), "more than 1024"),
        (lambda it: it["dsseEnvelope"]["signatures"][0].update(keyid=7), "keyid is not a text"),
    ],
)
def test_a_malformed_file_is_refused_by_name(
    keys: KeyPair, edit: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(ArtifactError, match=f"^x.sig: .*{said}"):
        bundle.parse(edited(keys, edit), where="x.sig")
