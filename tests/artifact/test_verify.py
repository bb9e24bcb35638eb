from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.artifact import open_ingot, verify
from ingot.artifact.format.manifest import INDEX, MAX_BYTES
from ingot.errors import ArtifactError
from tests.artifact.resealing import write_manifest


def refusal(ingot: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        verify(ingot)
    return str(caught.value)


def culprit(path: Path, offset: int) -> str:
    """Say how a refusal must begin when the byte at ``offset`` of a file is wrong."""
    if path.suffix == ".safetensors":
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = (8 + length + offset for offset in entry["data_offsets"])
                if begin <= offset < end:
                    return f"{path}: tensor {name!r} does not match its digest"
    return f"{path}: "


def test_sound_ingots_pass(pristine: Path, pristine_sharded: Path) -> None:
    assert verify(pristine).digest != verify(pristine_sharded).digest


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_flipped_byte_anywhere_is_named(damaged_copies: list[Path], data: st.DataObject) -> None:
    ingot = data.draw(st.sampled_from(damaged_copies))
    path = data.draw(st.sampled_from(sorted(ingot.iterdir())))
    whole = path.read_bytes()
    # Half of the flips fall into the first bytes, where headers and structure are.
    last = len(whole) - 1
    offset = data.draw(st.integers(0, min(last, 400)) | st.integers(0, last))
    flip = data.draw(st.integers(1, 255))
    expected = culprit(path, offset)
    try:
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ flip]) + whole[offset + 1 :])
        assert refusal(ingot).startswith(expected)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(("old", "new"), [(b'"pt"', b'"tp"'), (b"  ", b" \t")])
def test_a_header_that_means_the_same_is_named(ingot_copy: Path, old: bytes, new: bytes) -> None:
    path = ingot_copy / "model.safetensors"
    whole = path.read_bytes()
    length = 8 + int.from_bytes(whole[:8], "little")
    assert old in whole[:length]
    path.write_bytes(whole[:length].replace(old, new, 1) + whole[length:])
    assert refusal(ingot_copy).startswith(f"{path}: does not match its digest")


def test_a_longer_header_is_named_without_reading_the_weights(ingot_copy: Path) -> None:
    path = ingot_copy / "model.safetensors"
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    longer = (length + 64).to_bytes(8, "little") + whole[8 : 8 + length] + b" " * 64
    path.write_bytes(longer + whole[8 + length :])
    with pytest.raises(ArtifactError, match=f"^{path}: has .* bytes where the manifest says"):
        open_ingot(ingot_copy, verify=False)


def test_no_byte_of_the_manifest_is_free(damaged_copies: list[Path]) -> None:
    ingot = damaged_copies[0]
    path = ingot / "ingot.json"
    whole = path.read_bytes()
    try:
        for offset in range(0, len(whole), 9):
            path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
            assert refusal(ingot).startswith(f"{path}: ")
    finally:
        path.write_bytes(whole)


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_a_truncated_file_is_named(damaged_copies: list[Path], data: st.DataObject) -> None:
    ingot = data.draw(st.sampled_from(damaged_copies))
    path = data.draw(st.sampled_from(sorted(ingot.iterdir())))
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        assert refusal(ingot).startswith(f"{path}: ")
    finally:
        path.write_bytes(whole)


def test_appended_bytes_are_named(ingot_copy: Path) -> None:
    for path in sorted(ingot_copy.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole + b"\n")
        assert refusal(ingot_copy).startswith(f"{path}: ")
        path.write_bytes(whole)


def test_a_missing_file_is_named(ingot_copy: Path) -> None:
    for path in sorted(ingot_copy.iterdir()):
        whole = path.read_bytes()
        path.unlink()
        assert refusal(ingot_copy).startswith(f"{path}: is missing")
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "name", ["modeling.py", ".hidden", "pytorch_model.bin", "model-00001-of-00002.safetensors"]
)
def test_an_added_file_is_named(ingot_copy: Path, name: str) -> None:
    (ingot_copy / name).write_bytes(b"print('owned')\n")
    assert refusal(ingot_copy).startswith(f"{ingot_copy / name}: is not part of the ingot")


def test_an_added_folder_is_named(ingot_copy: Path) -> None:
    (ingot_copy / "code").mkdir()
    assert refusal(ingot_copy).startswith(f"{ingot_copy / 'code'}: is not part of the ingot")


def test_links_are_refused_even_to_the_right_bytes(ingot_copy: Path, pristine: Path) -> None:
    for path in sorted(ingot_copy.iterdir()):
        whole = path.read_bytes()
        path.unlink()
        path.symlink_to(pristine / path.name)
        assert refusal(ingot_copy).startswith(f"{path}: is a symbolic link")
        path.unlink()
        path.write_bytes(whole)


def test_what_is_no_file_is_refused_without_waiting(ingot_copy: Path) -> None:
    for path in sorted(ingot_copy.iterdir()):
        whole = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        assert refusal(ingot_copy).startswith(f"{path}: is not a regular file")
        path.unlink()
        path.write_bytes(whole)


@pytest.mark.parametrize("name", sorted(MAX_BYTES.keys() - {INDEX}))
def test_a_file_larger_than_its_kind_ever_is_is_not_read(ingot_copy: Path, name: str) -> None:
    """FAULTS B5: a config.json of 60 MB took 1.55 GB."""
    path = ingot_copy / name
    content = json.loads((ingot_copy / "ingot.json").read_bytes())
    with path.open("r+b") as file:
        file.truncate(MAX_BYTES[name] + 1)  # sparse
    if name != "ingot.json":
        content["files"][name]["bytes"] = MAX_BYTES[name] + 1
        write_manifest(ingot_copy, content)
    assert f"has {MAX_BYTES[name] + 1:,} bytes, more than" in refusal(ingot_copy)


def test_what_is_no_ingot_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    assert refusal(tmp_path / "empty").startswith(f"{tmp_path}/empty/ingot.json: is missing")
    assert refusal(tmp_path / "file").startswith(f"{tmp_path}/file: is not an ingot")
    assert refusal(tmp_path / "absent").startswith(f"{tmp_path}/absent: is not an ingot")
    assert "is not an ingot (embedded null byte)" in refusal(tmp_path / "a\x00b")  # FAULTS B5


def test_a_link_to_a_whole_ingot_is_followed(tmp_path: Path, pristine: Path) -> None:
    (tmp_path / "latest").symlink_to(pristine)
    assert verify(tmp_path / "latest") == verify(pristine)


def test_without_reading_the_weights_all_else_is_checked(ingot_copy: Path) -> None:
    weights = ingot_copy / "model.safetensors"
    flipped = bytearray(weights.read_bytes())
    flipped[-1] ^= 1
    weights.write_bytes(flipped)
    open_ingot(ingot_copy, verify=False).close()
    weights.write_bytes(flipped[:-1])
    with pytest.raises(ArtifactError, match=str(weights)):
        open_ingot(ingot_copy, verify=False)
    weights.write_bytes(flipped)
    for name in ("config.json", "tokenizer.json", "generation_config.json", "ingot.json"):
        path = ingot_copy / name
        whole = path.read_bytes()
        path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
        with pytest.raises(ArtifactError, match=str(path)):
            open_ingot(ingot_copy, verify=False)
        path.write_bytes(whole)
