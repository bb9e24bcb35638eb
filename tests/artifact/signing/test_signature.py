"""The signature beside an ingot: what it vouches for, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ingot.api.ingots import sign
from ingot.artifact import (
    Provenance,
    TrustedKeys,
    freeze,
    open_ingot,
    signature_path,
    verify,
)
from ingot.artifact.signing import signature as module
from ingot.errors import ArtifactError, UsageError
from ingot.model import ModelConfig, Tokenizer
from tests.artifact.conftest import Weights
from tests.artifact.resealing import reseal
from tests.artifact.signing.conftest import KeyPair


@pytest.fixture
def signed(ingot_copy: Path, keys: KeyPair) -> Path:
    sign(ingot_copy, keys.private)
    return ingot_copy


@pytest.fixture
def trusted(keys: KeyPair) -> TrustedKeys:
    return TrustedKeys.read([keys.public])


def refusal(ingot: Path, trusted: TrustedKeys) -> str:
    with pytest.raises(ArtifactError) as caught:
        verify(ingot, trusted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_signed_ingot_verifies_and_stays_as_it_was(
    ingot_copy: Path, keys: KeyPair, trusted: TrustedKeys
) -> None:
    before = {path.name: path.read_bytes() for path in ingot_copy.iterdir()}
    written = sign(ingot_copy, keys.private)
    assert written == ingot_copy.with_name("copy.ingot.sig")
    assert {path.name: path.read_bytes() for path in ingot_copy.iterdir()} == before
    assert verify(ingot_copy, trusted).digest == verify(ingot_copy).digest
    with open_ingot(ingot_copy, trusted=trusted) as ingot:
        assert len(ingot.load()) > 0


def test_sharded_and_quantized_ingots_are_signed_alike(
    pristine_sharded: Path, keys: KeyPair, trusted: TrustedKeys, tmp_path: Path
) -> None:
    out = tmp_path / "elsewhere.sig"
    sign(pristine_sharded, keys.private, signature=out)
    verify(pristine_sharded, TrustedKeys(trusted.keys, out))
    listed = json.loads(module.bundle.parse(out.read_bytes(), where=out).payload)
    names = {entry["name"] for entry in listed["predicate"]["resources"]}
    assert names == {path.name for path in pristine_sharded.iterdir()}


def test_it_goes_with_the_folder_behind_a_link(
    signed: Path, trusted: TrustedKeys, tmp_path: Path
) -> None:
    link = tmp_path / "links" / "current"
    link.parent.mkdir()
    link.symlink_to(signed)
    verify(link, trusted)
    assert signature_path(link) == signature_path(signed)


def test_an_unsigned_ingot_is_refused(ingot_copy: Path, trusted: TrustedKeys) -> None:
    said = refusal(ingot_copy, trusted)
    assert said.startswith(f"{ingot_copy}: is not signed: copy.ingot.sig is missing; put the")


def test_another_key_is_refused_and_one_of_several_suffices(
    signed: Path, keys: KeyPair, other_keys: KeyPair
) -> None:
    sig = signature_path(signed)
    wrong = TrustedKeys.read([other_keys.public])
    assert refusal(signed, wrong).startswith(f"{sig}: is signed with another key (")
    verify(signed, TrustedKeys.read([other_keys.public, keys.public]))


def test_another_keys_hint_does_not_help(
    signed: Path, keys: KeyPair, other_keys: KeyPair, trusted: TrustedKeys
) -> None:
    sig = signature_path(signed)
    sign(signed, other_keys.private, overwrite=True)
    content = json.loads(sig.read_bytes())
    content["verificationMaterial"]["publicKey"]["hint"] = trusted.keys[0].hint
    sig.write_text(json.dumps(content))
    assert refusal(signed, trusted).startswith(f"{sig}: is not a valid signature of {keys.public}")


def test_a_changed_file_with_digests_that_fit_is_named(signed: Path, trusted: TrustedKeys) -> None:
    """What the digest alone cannot show: the ingot was changed and sealed again."""
    weights = signed / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert refusal(signed, trusted).startswith(f"{weights}: tensor ")
    reseal(signed)
    verify(signed)
    assert refusal(signed, trusted).startswith(f"{weights}: is not the file that was signed")


def test_a_changed_provenance_is_named(signed: Path, trusted: TrustedKeys) -> None:
    reseal(signed, lambda content: content["provenance"].update(seed=8))
    verify(signed)
    said = refusal(signed, trusted)
    assert said.startswith(f"{signed}/ingot.json: is not the file that was signed in ")


def test_added_missing_and_linked_files_are_named(
    signed: Path, trusted: TrustedKeys, pristine: Path
) -> None:
    (signed / "model.sig").write_text("{}")
    assert refusal(signed, trusted).startswith(f"{signed}/model.sig: is not part of the ingot")
    (signed / "model.sig").unlink()
    (signed / "tokenizer.json").unlink()
    assert refusal(signed, trusted).startswith(f"{signed}/tokenizer.json: is missing")
    (signed / "tokenizer.json").symlink_to(pristine / "tokenizer.json")
    assert refusal(signed, trusted).startswith(f"{signed}/tokenizer.json: is a symbolic link")


def test_a_signature_of_more_or_fewer_files_is_refused(
    pristine: Path, pristine_sharded: Path, keys: KeyPair, tmp_path: Path
) -> None:
    out = sign(pristine_sharded, keys.private, signature=tmp_path / "sharded.sig")
    said = refusal(pristine, TrustedKeys.read([keys.public], out))
    assert said.startswith(f"{pristine}/model.safetensors: is not signed by {out}")
    digests = {path.name: "0" * 64 for path in pristine.iterdir()} | {"more": "0" * 64}
    payload = module.statement("x", digests)
    out.write_bytes(module.bundle.sign(payload, module.read_private_key(keys.private)))
    said = refusal(pristine, TrustedKeys.read([keys.public], out))
    assert said.startswith(f"{out}: signs 'more', which is not in the ingot")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not valid JSON"),
        (b"\x00" * 100, "is not valid JSON"),
        (b"[]", "is not a JSON object"),
        (b"{}", "is not a signature of a model (the bundle: mediaType is missing)"),
        (b"[" * 100_000, "holds more than 50000 values"),
        (b'{"a": ' + b"9" * 1_000_000 + b"}", "more than 40 digits"),
    ],
    ids=["empty", "zeros", "list", "object", "deep", "number"],
)
def test_a_malformed_signature_is_refused(
    signed: Path, trusted: TrustedKeys, data: bytes, said: str
) -> None:
    sig = signature_path(signed)
    sig.write_bytes(data)
    assert f"{sig}: " in refusal(signed, trusted)
    assert said in refusal(signed, trusted)


def test_a_huge_signature_or_a_pipe_is_not_read(signed: Path, trusted: TrustedKeys) -> None:
    sig = signature_path(signed)
    with sig.open("r+b") as file:
        file.truncate(1 << 40)  # sparse
    assert refusal(signed, trusted).startswith(f"{sig}: is longer than 1,048,576 bytes")
    sig.unlink()
    sig.mkdir()
    assert refusal(signed, trusted).startswith(f"{sig}: is not a regular file")


def test_every_byte_of_the_payload_is_covered(signed: Path, trusted: TrustedKeys) -> None:
    sig = signature_path(signed)
    content = json.loads(sig.read_bytes())
    payload = content["dsseEnvelope"]["payload"]
    for position in range(0, len(payload) - 4, 41):
        other = "A" if payload[position] != "A" else "B"
        content["dsseEnvelope"]["payload"] = payload[:position] + other + payload[position + 1 :]
        sig.write_text(json.dumps(content))
        assert "is not a valid signature" in refusal(signed, trusted)


def test_the_signature_is_checked_before_any_other_file_is_read(
    signed: Path, trusted: TrustedKeys
) -> None:
    signature_path(signed).unlink()
    (signed / "tokenizer.json").write_text("not JSON at all")
    assert "is not signed" in refusal(signed, trusted)


def test_a_damaged_ingot_is_not_signed(ingot_copy: Path, keys: KeyPair) -> None:
    (ingot_copy / "config.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"config\.json: has 2 bytes where the manifest says"):
        sign(ingot_copy, keys.private)
    assert not signature_path(ingot_copy).exists()


def test_where_a_signature_may_lie(signed: Path, keys: KeyPair, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already; name another file, or add --overwrite"):
        sign(signed, keys.private)
    sign(signed, keys.private, overwrite=True)
    with pytest.raises(UsageError, match="lies in the ingot, whose list of files is closed"):
        sign(signed, keys.private, signature=signed / "model.sig")
    with pytest.raises(UsageError, match="cannot be written"):
        sign(signed, keys.private, signature=tmp_path / "absent" / "x.sig")


def test_overwriting_an_ingot_leaves_a_signature_that_no_longer_fits(
    signed: Path,
    trusted: TrustedKeys,
    keys: KeyPair,
    weights: Weights,
    config: ModelConfig,
    tokenizer: Tokenizer,
) -> None:
    changed = {name: (array + np.float32(1)) for name, array in weights.items()}
    freeze(changed, config, tokenizer, signed, provenance=Provenance(), overwrite=True).close()
    assert refusal(signed, trusted).startswith(f"{signed}/model.safetensors: is not the file that")
    sign(signed, keys.private, overwrite=True)
    verify(signed, trusted)


def test_the_library_of_the_extra_is_asked_for(
    signed: Path, keys: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    for attempt in (
        lambda: TrustedKeys.read([keys.public]),
        lambda: sign(signed, keys.private, overwrite=True),
    ):
        with pytest.raises(UsageError, match=r"needs cryptography.*pip install 'ingot\[sign\]'"):
            attempt()


def test_a_moved_ingot_takes_its_signature_along(
    signed: Path, trusted: TrustedKeys, tmp_path: Path
) -> None:
    moved = tmp_path / "renamed.ingot"
    shutil.move(signed, moved)
    shutil.move(signature_path(signed), signature_path(moved))
    verify(moved, trusted)
