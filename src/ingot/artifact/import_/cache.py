"""Foreign models imported once and kept, each ingot named by what it was made from."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from ingot.artifact.format.manifest import MANIFEST, Origin
from ingot.artifact.import_.opened_model import OpenedModel
from ingot.errors import IngotError, ResourceError
from ingot.files import cache_root, write_atomic
from ingot.folder_lock import file_locked

_WAIT_S = 3600.0
"""Longest wait for another process that imports the same model."""
_POLL_S = 0.2
_SEEN = "seen"
"""Folder of notes: which ingot was made of which files."""
_INGOT_NAME = re.compile(r"[0-9a-f]{32}\.ingot")
_FORMAT = 1
"""Raised when an import of the same files gives another ingot."""


class _Busy(IngotError):  # noqa: N818 (caught here alone)
    """Another process imports the same model."""


def cache_folder() -> Path:
    """Return where imported models are kept: ``$XDG_CACHE_HOME/ingot/imports``."""
    return cache_root() / "imports"


def cached_ingot(opened: OpenedModel, say: Callable[[str], None]) -> Path:
    """Return the ingot of an opened model in the cache, and make it if it is not there.

    Of several processes that ask at once one imports, the others wait for it.

    Args:
        opened: The model.
        say: Told what takes long.

    Raises:
        ArtifactError: as ``OpenedModel.seal``.
        ResourceError: the disk is full, the cache cannot be written, or another process takes
            longer than an hour.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cannot be made ({error.strerror})", where=folder, fix="set XDG_CACHE_HOME"
        ) from error
    path = folder / f"{content_key(opened.origin)[:32]}.ingot"
    if (path / MANIFEST).is_file():
        return path
    with _alone(path, say):
        if not (path / MANIFEST).is_file():
            say(f"importing {opened.origin.source} ({opened.origin.family}) into {path}")
            opened.seal(path).close()
    return path


def remembered(source: Path) -> Path | None:
    """Return the ingot that was imported from a folder or file before, if nothing changed since.

    A file counts as unchanged while its size, its times of change and its place on the disk are
    the same; so a large model is not hashed each time it is used.
    """
    key = _state_key(source)
    if key is None:
        return None
    try:
        name = (cache_folder() / _SEEN / key).read_text("ascii")
    except (OSError, ValueError):
        return None
    if not _INGOT_NAME.fullmatch(name):
        return None
    path = cache_folder() / name
    return path if (path / MANIFEST).is_file() else None


def remember(source: Path, ingot: Path) -> None:
    """Note which ingot of the cache was made of a folder or file."""
    key = _state_key(source)
    if key is not None:
        seen = cache_folder() / _SEEN
        seen.mkdir(exist_ok=True)
        write_atomic(seen / key, ingot.name.encode("ascii"))


def _state_key(source: Path) -> str | None:
    """Return a digest of what the system says of a file, or of all files in a folder."""
    source = source.absolute()
    digest = hashlib.sha256(f"{_FORMAT} {version('ingot')} {source}".encode("utf-8", "replace"))
    try:
        for path in sorted(source.iterdir()) if source.is_dir() else [source]:
            state = path.stat()
            fields = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
            digest.update(f"\0{path.name} {fields} {state.st_ctime_ns}".encode("utf-8", "replace"))
    except OSError:  # a link to nothing, or a file that has just gone
        return None
    return digest.hexdigest()


def content_key(origin: Origin) -> str:
    """Return a digest of the files that a model is imported from, in hexadecimal.

    Names of folders and the time of fetching do not count; the version of Ingot does.
    """
    digest = hashlib.sha256(f"{_FORMAT} {version('ingot')} {origin.family}\n".encode())
    for kind, files in (("file", origin.files), ("adapter", origin.adapter or {})):
        for name, record in sorted(files.items()):
            digest.update(f"{kind} {record.sha256} {record.bytes} {name}\n".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _alone(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of one ingot of the cache inside the block; wait for who holds it."""
    lock, waited_until = path.with_name(f".{path.name}.lock"), time.monotonic() + _WAIT_S
    told = False
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(file_locked(lock, _Busy, "is being imported", where=path))
                break
            except _Busy as error:
                if time.monotonic() > waited_until:
                    raise ResourceError(error.what, where=path, fix="end that process") from error
                if not told:
                    say(f"{path} {error.what}; waiting")
                    told = True
                time.sleep(_POLL_S)
        yield
