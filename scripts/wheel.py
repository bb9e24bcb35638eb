"""Build the wheel and check that it serves in a fresh environment without a compiler.

Usage: ``python scripts/wheel.py FOLDER``. Dependencies come from the package index.
"""

# ruff: noqa: S603 (our own commands)

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST_BYTES = 150_000_000
_INSTALLER = ("pip", "setuptools", "_distutils_hack", "distutils-precedence.pth")
_CHECK = (
    "import sys, ingot.api.inference as two; from ingot.native import kernels;"
    "assert two.native_core_is_built() and 'torch' not in sys.modules; print(*kernels())"
)


def main() -> int:
    """Build, install, measure; return the exit code."""
    folder = Path(sys.argv[1])
    built = _built(folder)
    with tempfile.TemporaryDirectory() as temporary:
        python = Path(temporary) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", temporary], check=True)
        # A PATH without the system's folders: no compiler is found even if one is installed.
        environment = {"PATH": str(python.parent), "HOME": os.environ.get("HOME", temporary)}
        constraints = str(ROOT / "constraints.txt")
        install = [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        subprocess.run([*install, "-c", constraints, built], check=True, env=environment)
        checked = subprocess.run(
            [python, "-I", "-c", _CHECK],
            check=True,
            env=environment,
            capture_output=True,
            text=True,
        )
        subprocess.run(
            [python, "-m", "ingot", "--help"],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        size = _installed_bytes(next(Path(temporary).glob("lib/python3*/site-packages")))
    sys.stdout.write(
        f"{built}: {built.stat().st_size / 1e6:.1f} MB; installed with its dependencies "
        f"{size / 1e6:.1f} MB of {MOST_BYTES / 1e6:.0f}; kernels here: {checked.stdout}"
    )
    return 0 if size <= MOST_BYTES else 1


def _built(folder: Path) -> Path:
    """Build the wheel into ``folder`` and return its path."""
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", temporary]
        subprocess.run([*command, str(ROOT)], check=True)
        wheel = next(Path(temporary).glob("ingot-*.whl"))
        folder.mkdir(exist_ok=True)
        target = folder / wheel.name
        target.write_bytes(wheel.read_bytes())
    return target


def _installed_bytes(packages: Path) -> int:
    """Return the size of an environment's files without the installer and compiled Python."""
    return sum(
        path.stat().st_size
        for path in packages.rglob("*")
        if path.is_file()
        and path.suffix != ".pyc"
        and not path.relative_to(packages).parts[0].startswith(_INSTALLER)
    )


if __name__ == "__main__":
    sys.exit(main())
