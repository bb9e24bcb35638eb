"""Archives are read like folders."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from ingot.corpus import Reason
from ingot.errors import CorpusError

Read = Callable[..., Any]
MEMBERS = {
    "docs/a.txt": b"first\n",
    "docs/README": "Grüße\n".encode(),
    "docs/NEWS.Debian.gz": gzip.compress(b"compressed inside\n"),
    "rows.jsonl": b'{"text": "row 1"}\n{"text": "row 2"}\n',
    "windows.txt": "UTF-16\n".encode("utf-16"),
}
# Compresses 150 times, as a log may, and compresses again when it is repeated.
LAYER = gzip.compress(random.Random(3).randbytes(150).hex().encode() + b"a" * 33_000)
TEXTS = ["first\n", "Grüße\n", "compressed inside\n", "row 1", "row 2", "UTF-16\n"]


def zipped(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("docs")
        for name, data in members.items():
            archive.writestr(name, data)
    return made.getvalue()


def tarred(members: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=kind) as archive:
        folder = tarfile.TarInfo("docs")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def counts(report: Any) -> dict[Reason, int]:
    return {reason: entry.count for reason, entry in report.skipped.items()}


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.zip", zipped),
        ("a.tar", tarred),
        ("gnu.tar", lambda members: tarred(members, tarfile.GNU_FORMAT)),
        ("a.tar.gz", lambda members: gzip.compress(tarred(members))),
        ("a.tgz", lambda members: gzip.compress(tarred(members))),
        ("a.tar.xz", lambda members: lzma.compress(tarred(members))),
        ("a.tar.bz2", lambda members: bz2.compress(tarred(members))),
        ("a.tar.zst", lambda members: zstandard.compress(tarred(members))),
        ("unnamed", tarred),
    ],
)
def test_members_are_documents(
    tmp_path: Path, read: Read, name: str, make: Callable[[dict[str, bytes]], bytes]
) -> None:
    """FAULTS D7: archives are read, alone and in folders."""
    path = tmp_path / "texts" / name
    path.parent.mkdir()
    path.write_bytes(make(MEMBERS))
    for source in (path, path.parent):
        documents, report = read(source)
        assert [document.text for document in documents] == TEXTS
        assert documents[0].origin == f"{path}/docs/a.txt"
        assert documents[4].origin == f"{path}/rows.jsonl:2"
        assert not report.skipped
        assert report.source_bytes == path.stat().st_size
    assert [path.name for path in path.parent.iterdir()] == [name]


@pytest.mark.parametrize(("name", "make"), [("a.zip", zipped), ("a.tar", tarred)])
def test_members_are_chosen_as_files_of_a_folder(
    tmp_path: Path, read: Read, name: str, make: Callable[[dict[str, bytes]], bytes]
) -> None:
    members = {
        "a.txt": b"kept",
        "b.py": b"a program",
        ".git/config": b"hidden",
        "node_modules/c.txt": b"excluded",
        "../d.txt": b"leads out",
        "/etc/e.txt": b"leads out too",
        "f.zip": zipped({"g.txt": b"nested"}),
        "h.txt": b"\x7fELF\0",
        "i.pdf": b"%PDF-1.5",
    }
    (tmp_path / name).write_bytes(make(members))
    documents, report = read(tmp_path / name)
    assert [document.text for document in documents] == ["kept", "a program"]
    assert counts(report) == {
        Reason.HIDDEN: 1,
        Reason.EXCLUDED: 1,
        Reason.LINK: 2,
        Reason.NESTED: 1,
        Reason.BINARY: 1,
        Reason.DOCUMENT: 1,
    }
    documents, report = read(tmp_path / name, suffixes=["py"])
    assert [document.text for document in documents] == ["a program"]


def test_links_and_devices_of_a_tar_are_counted(tmp_path: Path, read: Read) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, kind in [("a", tarfile.SYMTYPE), ("b", tarfile.LNKTYPE), ("c", tarfile.FIFOTYPE)]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    (tmp_path / "a.tar").write_bytes(made.getvalue())
    documents, report = read(tmp_path / "a.tar")
    assert documents == []
    assert counts(report) == {Reason.LINK: 2, Reason.UNREADABLE: 1}


def test_encrypted_members_are_counted(tmp_path: Path, read: Read) -> None:
    data = bytearray(zipped({"a.txt": b"secret"}))
    directory = data.rindex(b"PK\1\2")
    data[directory + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    documents, report = read(tmp_path / "a.zip")
    assert documents == []
    assert counts(report) == {Reason.UNREADABLE: 1}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.zip", zipped({f"{n}.txt": bytes([65 + n]) * (16 << 20) for n in range(6)})),
        ("a.zip", zipped({"a.txt.gz": LAYER * 2500})),
        ("a.tar.gz", gzip.compress(tarred({"a.txt": b"a" * (80 << 20)}))),
        ("a.tar", tarred({"a.txt.bz2": bz2.compress(b"a" * (80 << 20))})),
    ],
    ids=["zip", "gzip in zip", "tar.gz", "bz2 in tar"],
)
def test_bombs_are_refused(tmp_path: Path, read: Read, name: str, data: bytes) -> None:
    """FAULTS D7: layers of compression do not multiply what an archive may hold."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=r"decompresses to more than 250 times"):
        read(tmp_path / name)


def test_headers_and_directories_that_would_fill_the_memory_are_refused(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tarfile.TarInfo("a.txt")
    info.pax_headers = {"comment": "x" * (2 << 20)}
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    with pytest.raises(CorpusError, match=r"a\.tar: cannot be read as an archive \(a header is"):
        read(tmp_path / "a.tar")
    monkeypatch.setattr("ingot.corpus.reading.archives._MAX_DIRECTORY", 1 << 10)
    (tmp_path / "a.zip").write_bytes(zipped({f"{n}.txt": b"x" for n in range(100)}))
    with pytest.raises(CorpusError, match=r"a\.zip: holds too many members"):
        read(tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_damage_never_goes_unsaid(tmp_path: Path, read: Read, name: str) -> None:
    """A damaged archive is refused, or gives its texts, or counts what it lacks."""
    whole = (zipped if name == "a.zip" else tarred)(MEMBERS).rstrip(b"\0")
    rng = random.Random(7)
    for trial in range(300):
        data = bytearray(whole)
        if trial % 2:
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        else:
            del data[rng.randrange(len(data)) :]
        (tmp_path / name).write_bytes(data)
        try:
            _, report = read(tmp_path / name)
        except CorpusError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        if trial % 2 == 0:
            assert report.skipped or len(data) < 4  # too short to be an archive


def test_rows_of_an_archive_resume_where_they_were(tmp_path: Path, read: Read) -> None:
    rows = "".join(json.dumps({"text": f"row {n}"}) + "\n" for n in range(50)).encode()
    (tmp_path / "a.tar").write_bytes(tarred({"a.jsonl": rows, "b.txt": b"last"}))
    documents, _ = read(tmp_path / "a.tar")
    assert [document.text for document in documents][-2:] == ["row 49", "last"]
    assert os.listdir(tmp_path) == ["a.tar"]  # noqa: PTH208
