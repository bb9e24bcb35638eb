from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


@dataclass(frozen=True)
class KeyPair:
    private: Path
    public: Path


MakeKeys = Callable[..., KeyPair]


@pytest.fixture(scope="session")
def make_keys(tmp_path_factory: pytest.TempPathFactory) -> MakeKeys:
    def make(curve: ec.EllipticCurve | None = None, password: bytes | None = None) -> KeyPair:
        folder = tmp_path_factory.mktemp("keys")
        key = ec.generate_private_key(curve or ec.SECP256R1())
        pair = KeyPair(folder / "private.pem", folder / "public.pem")
        pair.private.write_bytes(
            key.private_bytes(
                Encoding.PEM,
                PrivateFormat.PKCS8,
                BestAvailableEncryption(password) if password else NoEncryption(),
            )
        )
        pair.public.write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        return pair

    return make


@pytest.fixture(scope="session")
def keys(make_keys: MakeKeys) -> KeyPair:
    return make_keys()


@pytest.fixture(scope="session")
def other_keys(make_keys: MakeKeys) -> KeyPair:
    return make_keys()
