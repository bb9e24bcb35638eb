"""Fetch the page's third-party code: ``python scripts/vendor_web.py`` (needs npm).

Downloads the pinned release from npm, checks it against the digest below, and writes the files
that the page loads, with their licence, to ``src/ingot/server/page/web/vendor``. To upgrade, change
the version and take the new digest from ``npm view uplot@VERSION dist.integrity``.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "uplot", "1.6.32"
INTEGRITY = (
    "sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+"
    "jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw=="
)
FOLDER = Path("src/ingot/server/page/web/vendor/uplot")
README = f"""uPlot {VERSION}, MIT licence, https://github.com/leeoniya/uPlot

Written by scripts/vendor_web.py from the npm package; do not edit. uPlot.min.js is
dist/uPlot.iife.min.js with one line added, which makes it an ES module.
"""


def main() -> None:
    """Write the vendored files.

    Raises:
        SystemExit: npm is not installed, or the package is not the pinned one.
    """
    if shutil.which("npm") is None:
        sys.exit("error: npm is not installed; install Node.js")
    with tempfile.TemporaryDirectory() as name:
        archive = _download(Path(name))
        with tarfile.open(archive) as tar:
            script = _member(tar, "dist/uPlot.iife.min.js")
            style = _member(tar, "dist/uPlot.min.css")
            licence = _member(tar, "LICENSE")
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "uPlot.min.js").write_bytes(script.rstrip() + b"\nexport default uPlot;\n")
    (FOLDER / "uPlot.min.css").write_bytes(style)
    (FOLDER / "LICENSE").write_bytes(licence)
    (FOLDER / "README").write_text(README, encoding="utf-8")


def _download(folder: Path) -> Path:
    command = ["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    (archive,) = folder.glob("*.tgz")
    digest = hashlib.sha512(archive.read_bytes()).digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != INTEGRITY:
        sys.exit(f"error: {archive.name} does not match its pinned digest; do not use it")
    return archive


def _member(tar: tarfile.TarFile, path: str) -> bytes:
    file = tar.extractfile(f"package/{path}")
    if file is None:
        sys.exit(f"error: {path} is not a file in {PACKAGE} {VERSION}")
    return file.read()


if __name__ == "__main__":
    main()
