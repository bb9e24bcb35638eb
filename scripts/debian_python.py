"""Interpreters of Debian in folders of their own, for this machine or another architecture.

A wheel has to be built with the headers of the Python it is for, and run by it. Debian's packages
hold both, for every architecture. They are downloaded by apt with a configuration of its own and
unpacked: nothing is installed. Those of another architecture run under QEMU.
"""

# ruff: noqa: S603, S607 (our own commands)

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""The Debian release that has each Python."""
DEBIAN_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
_LOADERS = {"x86_64": "lib64/ld-linux-x86-64.so.2", "aarch64": "lib/ld-linux-aarch64.so.1"}


class ToolMissingError(Exception):
    """A program or file that this machine lacks, with the command that brings it."""


@dataclass(frozen=True)
class Interpreter:
    """An unpacked Python."""

    version: str
    """Major and minor, such as ``3.11``."""
    machine: str
    """As ``uname -m`` names it."""
    command: Path
    """A script that runs it, on this machine or under QEMU."""
    headers: Path
    """The folder of ``Python.h``, with the ``pyconfig.h`` of this architecture."""


def fetch(version: str, machine: str, folder: Path) -> Interpreter:
    """Unpack Debian's Python of a version and architecture into ``folder``.

    Raises:
        ToolMissingError: apt, Debian's keys or QEMU are not there.
    """
    root = folder / "root"
    packages = [f"python{version}-minimal", f"libpython{version}-stdlib", f"libpython{version}-dev"]
    packages.append("libstdc++6")  # of numpy
    archives = _download(SUITES[version], DEBIAN_NAMES[machine], packages, folder)
    for archive in archives:
        subprocess.run(["dpkg-deb", "--extract", archive, root], check=True)
    _merge_lib(root)
    headers = folder / "headers"
    shutil.copytree(root / "usr/include" / f"python{version}", headers)
    own = root / f"usr/include/{machine}-linux-gnu/python{version}/pyconfig.h"
    shutil.copyfile(own, headers / "pyconfig.h")
    return Interpreter(version, machine, _command(root, version, machine), headers)


def _download(suite: str, architecture: str, packages: list[str], folder: Path) -> list[Path]:
    """Have apt download packages with all that they need; return the files."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise ToolMissingError(f"{tool} is not here; run make wheel on Debian, or in its image")
    if not KEYRING.exists():
        raise ToolMissingError(f"{KEYRING} is missing; sudo apt-get install debian-archive-keyring")
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()  # of installed packages: none
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n")
    (folder / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list";\n'
        f'Dir::Etc::sourceparts "{folder}/lists/partial";\n'
        f'Dir::State "{folder}";\n'
        f'Dir::State::lists "{folder}/lists";\n'
        f'Dir::State::status "{folder}/status";\n'
        f'Dir::Cache "{folder}/cache";\n'
        f'APT::Architecture "{architecture}";\n'
        f'APT::Architectures {{ "{architecture}"; }};\n'
        'APT::Install-Recommends "false";\n'
        'APT::Sandbox::User "";\n'
        'Acquire::Languages "none";\n'
    )
    environment = os.environ | {"APT_CONFIG": str(folder / "apt.conf")}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    subprocess.run(
        ["apt-get", "install", "-qq", "-y", "--download-only", *packages],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    return sorted((folder / "cache/archives").glob("*.deb"))


def _mirror() -> str:
    """Return the Debian mirror that this machine uses."""
    if chosen := os.environ.get("DEBIAN_MIRROR"):
        return chosen
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(SITE)"],
        check=True,
        capture_output=True,
        text=True,
    )
    for line in listed.stdout.splitlines():
        words = line.split()
        if words[:2] == ["Debian", "Debian"]:
            return words[2]
    raise ToolMissingError("no Debian mirror is listed; apt-get update, or give DEBIAN_MIRROR=URL")


def _merge_lib(root: Path) -> None:
    """Make ``lib`` a link to ``usr/lib``, as Debian's installer does: some packages use either."""
    for name in ("lib", "lib64"):
        old = root / name
        if old.is_dir() and not old.is_symlink():
            shutil.copytree(old, root / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(old)
        if not old.exists() and (root / "usr" / name).is_dir():
            old.symlink_to(f"usr/{name}")


def _command(root: Path, version: str, machine: str) -> Path:
    """Write the script that runs an unpacked Python; its children run through it as well."""
    binary = root / f"usr/bin/python{version}"
    libraries = f"{root}/usr/lib/{machine}-linux-gnu:{root}/usr/lib"
    loader = [str(root / _LOADERS[machine]), "--library-path", libraries]
    if machine == platform.machine():
        start = ["exec", *loader, "--argv0"]
    else:
        start = ["exec", str(emulator(machine)), "-L", str(root), "-0"]
    command = root / "usr/bin/python"
    script = f'{shlex.join(start)} "$0" {shlex.quote(str(binary))} "$@"'
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return command


def emulator(machine: str) -> Path:
    """Return QEMU's program for an architecture."""
    found = shutil.which(f"qemu-{machine}-static")
    if found is None:
        raise ToolMissingError("QEMU is missing; sudo apt-get install qemu-user-static")
    return Path(found)
