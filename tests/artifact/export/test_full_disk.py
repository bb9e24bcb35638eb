"""Exports to a disk that is full: one clear error, and nothing is left or lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.artifact.export.conftest import Make

FILL = """
import sys
from pathlib import Path
from ingot.artifact import open_ingot
from ingot.artifact.export import export_gguf, export_hf, export_modelfile
from ingot.errors import ResourceError

disk = Path(sys.argv[2])
with open_ingot(Path(sys.argv[1])) as ingot:
    export_gguf(ingot, disk / "a.gguf", kind="q4_0")
    before = (disk / "a.gguf").read_bytes()
    for write, out in ((export_gguf, "a.gguf"), (export_hf, "hf"), (export_modelfile, "ollama")):
        try:
            write(ingot, disk / out, overwrite=True)
        except ResourceError as error:
            print(error)
    assert (disk / "a.gguf").read_bytes() == before
assert [path.name for path in disk.iterdir()] == ["a.gguf"], list(disk.iterdir())
"""


def test_is_named_and_loses_nothing(make: Make, tmp_path: Path) -> None:
    """A real file system of 300 kB, in a mount namespace of our own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=300k none '{disk}'"
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*namespace, mount], check=False).returncode
    ):
        pytest.skip("this machine allows no mount namespaces")
    with make() as ingot:
        path = ingot.path
    ended = subprocess.run(
        [*namespace, f'{mount} && exec "$@"', "sh", sys.executable, "-c", FILL, path, disk],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("the disk is full") == 3, ended.stdout
