"""A signature file: the bundle, and the statement of bundles that a trusted key did sign."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ingot.artifact.signing import bundle
from ingot.artifact.signing.keys import PrivateKey, PublicKey
from ingot.artifact.signing.statement import signed_digests, statement
from tests.fuzz.mutate import dump, hostile_value, mutate_bytes, mutate_json

_DIGESTS = dict.fromkeys(("config.json", "ingot.json", "x" * 200), "0123456789abcdef" * 4)


class _RepeatableKey(PrivateKey):
    """Signs with the nonces of RFC 6979, so that an input is the same in every run."""

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


@functools.cache
def _private() -> PrivateKey:
    return _RepeatableKey(Path("private.pem"), "a" * 64, ec.derive_private_key(7, ec.SECP256R1()))


@functools.cache
def _public() -> PublicKey:
    key = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    return PublicKey(Path("public.pem"), _private().hint, key)


@functools.cache
def examples() -> Sequence[bytes]:
    return [bundle.sign(statement("model", _DIGESTS), _private())]


def make(random: Random) -> bytes:
    (example,) = examples()
    kind = random.randrange(4)
    if kind == 0:
        return mutate_bytes(random, example)
    content: dict[str, Any] = json.loads(example)
    if kind == 1:
        return dump(mutate_json(random, content, most=2))
    payload = json.loads(statement("model", _DIGESTS))
    if kind == 2:
        part = random.choice([payload, payload["predicate"], payload["predicate"]["serialization"]])
        part[random.choice(sorted(part))] = hostile_value(random)
    else:
        payload = mutate_json(random, payload, most=2)
    return bundle.sign(dump(payload), _private())  # what follows a signature that is right


def attempt(data: bytes) -> None:
    signed = bundle.parse(data, where="model.sig")
    signed.signed_by([_public()], where="model.sig")
    for name, digest in signed_digests(signed.payload, where="model.sig").items():
        assert name
        assert len(digest) == 64
