"""Source files of strangers: text in any encoding, tables, compressed files and archives.

An input is a byte that chooses the name, then the file. It is read as a file that is named and as
one of a folder, with and without an encoding.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pyarrow as pa
import zstandard
from pyarrow import parquet

from ingot.corpus import CorpusConfig, ReadReport, iter_documents
from ingot.errors import CorpusError
from tests.fuzz.mutate import mutate_bytes

_TEXT = "A line of text: Grüße, 日本.\n" * 40
_ROWS = "".join(f'{{"id": {n}, "text": "row {n}: Grüße"}}\n' for n in range(20))
_CONFIGS = (CorpusConfig(), CorpusConfig(encoding="utf-16-le"), CorpusConfig(encoding="gb18030"))


def _zipped(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return made.getvalue()


def _tarred(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.pax_headers = {"comment": "ä"}
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def _table() -> bytes:
    made = io.BytesIO()
    parquet.write_table(pa.table({"text": [f"row {n}" for n in range(50)]}), made)
    return made.getvalue()


_MEMBERS = {
    "a.txt": _TEXT.encode(),
    "b/c.jsonl": _ROWS.encode(),
    "d.gz": gzip.compress(_TEXT.encode()),
}
_FILES: list[tuple[str, Callable[[], bytes]]] = [
    ("a.parquet", _table),  # first: it warms the worker up, and pyarrow reserves addresses
    ("a", _TEXT.encode),
    ("a.txt", lambda: _TEXT.encode("utf-16")),
    ("a.html", lambda: b'<meta charset="shift_jis">' + "日本".encode("shift_jis")),
    ("a.jsonl", _ROWS.encode),
    ("a.txt.gz", lambda: gzip.compress(_TEXT.encode())),
    ("a.txt.bz2", lambda: bz2.compress(_TEXT.encode())),
    ("a.jsonl.xz", lambda: lzma.compress(_ROWS.encode())),
    ("a.jsonl.zst", lambda: zstandard.compress(_ROWS.encode())),
    ("a.zip", lambda: _zipped(_MEMBERS)),
    ("a.tar", lambda: _tarred(_MEMBERS)),
    ("a.tgz", lambda: gzip.compress(_tarred(_MEMBERS))),
]


@functools.cache
def examples() -> Sequence[bytes]:
    return [bytes([number]) + make() for number, (_, make) in enumerate(_FILES)]


def make(random: Random) -> bytes:
    number = random.randrange(len(_FILES))
    name, whole = _FILES[number][0], examples()[number][1:]
    if name == "a.tgz" and random.random() < 0.7:  # inside the compression
        return bytes([number]) + gzip.compress(mutate_bytes(random, gzip.decompress(whole)))
    return bytes([number]) + mutate_bytes(random, whole)


def attempt(data: bytes) -> None:
    name = _FILES[data[0] % len(_FILES)][0]
    folder = Path("files")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / name).write_bytes(data[1:])
    refused: CorpusError | None = None
    for source in (folder / name, folder):
        for config in _CONFIGS:
            try:
                for document in iter_documents([source], ReadReport(), config=config):
                    document.text.encode()
            except CorpusError as error:
                refused = error
    if refused:
        raise refused
