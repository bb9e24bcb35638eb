"""Build the wheels and run each in a fresh Python of the kind that it is for.

Usage: ``python scripts/wheel.py FOLDER [VERSION-MACHINE ...]``, such as ``3.11-x86_64``; by default
all four: CPython 3.11 and, with the stable ABI, 3.12 and later, on x86-64 and 64-bit Arm.

The sources are those that git lists, so that no module built here gets into a wheel. ziglang
compiles for glibc 2.28, whichever machine this is; auditwheel and abi3audit confirm from the
symbols that the tags are true. Each wheel is then installed, with its dependencies from the
package index, for a Python of Debian without a compiler: 3.11, and 3.13 for the stable ABI. That
one serves a small model; Arm's runs under QEMU, and has to give the same tokens.
"""

# ruff: noqa: S603, S607 (our own commands)

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from debian_python import Interpreter, ToolMissingError, fetch

ROOT = Path(__file__).resolve().parent.parent
GLIBC = (2, 28)
_DEBIAN_GLIBC = 36  # 2.36, of the older of the two Debian releases
MOST_BYTES = 150_000_000
"""What an installation may take on disk, with its dependencies."""
KINDS = ("3.11-x86_64", "3.11-aarch64", "3.13-x86_64", "3.13-aarch64")
_BUILDER = platform.machine()
_BUILD = "import sys, json; from scikit_build_core.build import build_wheel; " + (
    "build_wheel(sys.argv[1], json.loads(sys.argv[2]))"
)


def main(arguments: Sequence[str]) -> int:
    """Build and check the wheels; return the exit code."""
    folder = Path(arguments[0]).resolve()
    folder.mkdir(exist_ok=True)
    kinds = list(arguments[1:]) or list(KINDS)
    with tempfile.TemporaryDirectory(prefix="ingot-wheel-") as temporary:
        work = Path(temporary)
        try:
            pythons = _interpreters(kinds, work / "pythons")
        except ToolMissingError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        sources, tools = _sources(work / "sources"), _tools(work / "tools")
        ingot = work / "model.ingot"
        subprocess.run(
            [sys.executable, ROOT / "scripts/wheel_check.py", "make", ingot], check=True, cwd=ROOT
        )
        answers = []
        for kind in kinds:
            version, machine = kind.split("-")
            built = _build(pythons[f"{version}-{_BUILDER}"], pythons[kind], sources, tools, work)
            wheel = _audited(built, machine, folder)
            site = _installed(wheel, pythons[kind], work / f"site-{kind}")
            answers.append(_run(pythons[kind], site, ingot, work))
            sys.stdout.write(f"{wheel.name}: {_facts(wheel, site)}; {answers[-1]['said']}\n")
            sys.stdout.flush()
    if any(answer["tokens"] != answers[0]["tokens"] for answer in answers):
        sys.stderr.write(f"error: the wheels answer differently: {answers}\n")
        return 1
    return 0


def _interpreters(kinds: Sequence[str], folder: Path) -> dict[str, Interpreter]:
    """Return the interpreters to run the wheels, and those of this machine to build them."""
    wanted = {*kinds, *(f"{kind.split('-')[0]}-{_BUILDER}" for kind in kinds)}
    return {kind: fetch(*kind.split("-"), folder / kind) for kind in sorted(wanted)}


def _sources(folder: Path) -> Path:
    """Copy what git lists, as it lies here."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True
    ).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, listed)):
        if (ROOT / name).is_file():  # it may have been removed, and not yet committed
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    return folder


def _tools(folder: Path) -> Path:
    """Install what builds a wheel, by the hashes of ``deploy/build.lock``; it is for any Python."""
    _pip("--require-hashes", "--no-deps", "-r", ROOT / "deploy/build.lock", target=folder)
    return folder


def _pip(*arguments: object, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--only-binary", ":all:", "--target", target]
    subprocess.run([*command, *options, *map(str, arguments)], check=True)


def _build(
    builder: Interpreter, python: Interpreter, sources: Path, tools: Path, work: Path
) -> Path:
    """Build the wheel for a Python, by one of its version that runs here."""
    made = work / f"built-{python.version}-{python.machine}"
    target = f"{python.machine}-linux-gnu"
    tag = f"cpython-{python.version.replace('.', '')}-{target}"
    settings = {
        "build-dir": str(work / f"cmake-{python.version}-{python.machine}"),
        "cmake.define.INGOT_ZIG_TARGET": f"{target}.{GLIBC[0]}.{GLIBC[1]}",
        "cmake.define.Python_INCLUDE_DIR": str(python.headers),
    }
    environment = os.environ | {
        "PYTHONPATH": str(tools),
        "PATH": f"{tools / 'bin'}:{os.environ['PATH']}",
        "_PYTHON_HOST_PLATFORM": f"linux-{python.machine}",
        "SETUPTOOLS_EXT_SUFFIX": f".{tag}.so",
    }
    subprocess.run(
        [builder.command, "-c", _BUILD, made, json.dumps(settings)],
        cwd=sources,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return next(made.glob("ingot-*.whl"))


def _audited(wheel: Path, machine: str, folder: Path) -> Path:
    """Give a wheel its manylinux tag if its modules keep to it; return its new path.

    auditwheel reads which version of glibc the modules' symbols are of, abi3audit whether all are
    of the stable ABI.
    """
    shown = _output(["auditwheel", "show", wheel])
    found = re.search(r'platform tag:\s"manylinux_(\d+)_(\d+)_(\w+)"', shown)
    if (
        found is None
        or (int(found[1]), int(found[2])) > GLIBC
        or found[3] != machine
        or "external shared libraries are required" in shown
    ):
        sys.exit(f"error: {wheel.name} does not keep to its tag: {shown}")
    tag = f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{machine}"
    name = _output(["wheel", "tags", "--platform-tag", tag, wheel]).strip()
    tagged = wheel.with_name(name)
    if "-abi3-" in name:
        _output(["abi3audit", "--strict", tagged])
    target = folder / name
    target.write_bytes(tagged.read_bytes())
    return target


def _output(command: list[object]) -> str:
    """Run one of the environment's programs; return what it prints, and end if it fails."""
    name, *arguments = map(str, command)
    program = str(Path(sys.executable).parent / name)
    done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {name} failed: {done.stdout}{done.stderr}")
    return done.stdout


def _installed(wheel: Path, python: Interpreter, site: Path) -> Path:
    """Install a wheel and its dependencies for a Python that may not run here."""
    # pip takes a platform by its very name. Debian's glibc is newer than the wheel's, and has to
    # be: that of llguidance for 64-bit Arm asks for 2.31.
    names = [f"manylinux_2_{minor}" for minor in range(_DEBIAN_GLIBC, 16, -1)] + ["manylinux2014"]
    platforms = [part for name in names for part in ("--platform", f"{name}_{python.machine}")]
    version = ("--python-version", python.version, "--implementation", "cp")
    _pip(*platforms, *version, "-c", ROOT / "constraints.txt", wheel, target=site)
    return site


def _run(python: Interpreter, site: Path, ingot: Path, work: Path) -> dict[str, object]:
    """Have a Python serve the ingot with what was installed; return what it says of that."""
    script = work / "wheel_check.py"
    script.write_bytes((ROOT / "scripts/wheel_check.py").read_bytes())
    environment = {"PYTHONPATH": str(site), "HOME": str(work), "PATH": "/nowhere"}
    done = subprocess.run(
        [python.command, script, "run", ingot],
        cwd=work,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def _facts(wheel: Path, site: Path) -> str:
    """Return sizes, which must be within the bound."""
    size = sum(
        path.stat().st_size for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc"
    )
    if size > MOST_BYTES:
        sys.exit(f"error: installed, it takes {size / 1e6:.1f} MB of {MOST_BYTES / 1e6:.0f}")
    return f"{wheel.stat().st_size / 1e6:.1f} MB, installed {size / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
