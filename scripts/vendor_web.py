"""Fetch the page's third-party code: ``python scripts/vendor_web.py`` (needs npm).

Downloads the pinned releases from npm, checks each against the digest below, and writes the files
that the page loads, with their licences, to ``src/ingot/server/page/web/vendor``. To upgrade,
change the version and take the new digest from ``npm view NAME@VERSION dist.integrity``.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VENDOR = Path("src/ingot/server/page/web/vendor")
LANGUAGES = (
    *("bash", "c", "cpp", "csharp", "css", "diff", "dockerfile", "go", "ini", "java"),
    *("javascript", "json", "kotlin", "lua", "makefile", "markdown", "php", "python", "r", "ruby"),
    *("rust", "sql", "swift", "typescript", "xml", "yaml"),
)
"""What highlight.js colours; each language is a file that the page loads when it is met."""


@dataclass(frozen=True)
class Package:
    """A release on npm, and which of its files the page loads."""

    name: str
    version: str
    integrity: str
    """Digest of the archive, as npm states it."""
    title: str
    licence: str
    source: str
    folder: str
    files: Mapping[str, str]
    """Names under ``folder`` by paths in the archive."""
    suffixes: Mapping[str, str]
    """Lines added to the end of a file, by its name."""


PACKAGES = (
    Package(
        name="uplot",
        version="1.6.32",
        integrity="sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+"
        "jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
        title="uPlot",
        licence="MIT",
        source="https://github.com/leeoniya/uPlot",
        folder="uplot",
        files={
            "dist/uPlot.iife.min.js": "uPlot.min.js",
            "dist/uPlot.min.css": "uPlot.min.css",
            "LICENSE": "LICENSE",
        },
        # Makes it an ES module.
        suffixes={"uPlot.min.js": "export default uPlot;\n"},
    ),
    Package(
        name="marked",
        version="18.2.1",
        integrity="sha512-ii4bxCTCqqwpT86XZWgJNs+ZnAIZksmLGYMViWA7PDIXYIeNo1x6cDdX3JOip9NM/"
        "cI6p8z57FxliACboTruMA==",
        title="marked",
        licence="MIT",
        source="https://github.com/markedjs/marked",
        folder="marked",
        files={"lib/marked.esm.js": "marked.min.js", "LICENSE": "LICENSE"},
        suffixes={},
    ),
    Package(
        name="@highlightjs/cdn-assets",
        version="11.12.0",
        integrity="sha512-KvOKXODaiFmId9xaq3xc5xCL66wVLUuOngDbO9B/kewbFTqdGbn2nJxNhN3H5R1cgDTV"
        "j6R8vH0zgiNDEGjpDw==",
        title="highlight.js",
        licence="BSD-3-Clause",
        source="https://github.com/highlightjs/highlight.js",
        folder="highlight",
        files={
            "es/core.min.js": "core.min.js",
            **{f"es/languages/{name}.min.js": f"languages/{name}.min.js" for name in LANGUAGES},
            "LICENSE": "LICENSE",
        },
        suffixes={},
    ),
)


def main() -> None:
    """Write the vendored files.

    Raises:
        SystemExit: npm is not installed, or a package is not the pinned one.
    """
    if shutil.which("npm") is None:
        sys.exit("error: npm is not installed; install Node.js")
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as name:
            _write(package, _download(package, Path(name)))


def _download(package: Package, folder: Path) -> Path:
    command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    (archive,) = folder.glob("*.tgz")
    digest = hashlib.sha512(archive.read_bytes()).digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != package.integrity:
        sys.exit(f"error: {archive.name} does not match its pinned digest; do not use it")
    return archive


def _write(package: Package, archive: Path) -> None:
    folder = VENDOR / package.folder
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(archive) as tar:
        for path, name in package.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            content = _member(tar, path, package)
            if target.suffix == ".js":
                # Source maps are not vendored; a browser's tools would ask for them.
                content = re.sub(rb"\n//# sourceMappingURL=\S+\s*$", b"", content.rstrip()) + b"\n"
                content += package.suffixes.get(name, "").encode()
            target.write_bytes(content)
    readme = (
        f"{package.title} {package.version}, {package.licence} licence, {package.source}\n\n"
        f"Written by scripts/vendor_web.py from the npm package {package.name}; do not edit.\n"
    )
    (folder / "README").write_text(readme, encoding="utf-8")


def _member(tar: tarfile.TarFile, path: str, package: Package) -> bytes:
    file = tar.extractfile(f"package/{path}")
    if file is None:
        sys.exit(f"error: {path} is not a file in {package.name} {package.version}")
    return file.read()


if __name__ == "__main__":
    main()
