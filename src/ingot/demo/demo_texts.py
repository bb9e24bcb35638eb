"""The demo's text: source code that people wrote and prose about code, from what is installed.

Code is the standard library without its tests and its codec tables. Prose is the reference of the
language (``pydoc_data``), the docstrings of three packages that Ingot needs, without interpreter
sessions, and the descriptions of every installed package. Docstrings of the standard library are
left in its code alone, so that no text is both trained on and held out.
"""

from __future__ import annotations

import ast
import gc
import importlib.util
import platform
import re
import sysconfig
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import orjson

from ingot.corpus.config import EXCLUDED_FOLDERS
from ingot.files import write_atomic

CODE_SUFFIX = ".py"
EXCLUDED = (
    *EXCLUDED_FOLDERS,
    "dist-packages",
    "encodings",  # tables of codecs
    "idle_test",
    "lib2to3",
    "pydoc_data",  # read as prose
    "test",
    "tests",
)
"""Folders of the standard library that are left out."""
PACKAGES = ("numpy", "networkx", "matplotlib")
"""Packages whose docstrings are read; PyTorch needs networkx, training needs the others."""

_LEAST_CHARACTERS = 200  # shorter docstrings are labels
_MOST_SOURCE_BYTES = 400_000  # larger modules are tables, and slow to parse
_EMPTY_EXAMPLES = re.compile(r"\n*\s*Examples?\n\s*-+\s*$|\n*\s*Examples?\n\s*-+(?=\n\n[A-Z])")
_TESTS = frozenset({"test", "tests", "testing", "_vendor"})
_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
"""Fields of a statement that hold statements, in the order of the syntax tree."""
_COMPOUND = (
    *(ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith),
    *(ast.Try, ast.TryStar, ast.ExceptHandler, ast.Match, ast.match_case),
)
"""Parts of a tree that hold statements, beside those that may have a docstring."""
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def code_folder() -> Path:
    """Return the folder of the standard library's source."""
    return Path(sysconfig.get_paths()["stdlib"])


def prose_version() -> str:
    """Return what the prose is made from; another version means that it would be other text."""
    packages = sorted(f"{name} {version}" for name, version, _ in _descriptions())
    return f"python {platform.python_version()}; {'; '.join(packages)}"


def write_prose(path: Path, on_progress: Callable[[float], None] = lambda _: None) -> None:
    """Write the prose as JSON Lines, one document a line, in the field ``text``.

    Args:
        path: The file.
        on_progress: Called with the share that was read, from 0 to 1.
    """
    collecting = gc.isenabled()
    gc.disable()  # it would look at every syntax tree again and again, and they hold no cycles
    try:
        lines = [orjson.dumps({"text": text}) for text in _documents(on_progress)]
    finally:
        if collecting:
            gc.enable()
    write_atomic(path, b"\n".join(lines) + b"\n")


def _documents(on_progress: Callable[[float], None]) -> Iterator[str]:
    yield from _language_reference()
    modules = [path for package in PACKAGES for path in _modules(package)]
    for number, path in enumerate(modules, 1):
        if text := _prose_of(path):
            yield text
        on_progress(number / len(modules))
    for name, _, description in _descriptions():
        if len(description) >= _LEAST_CHARACTERS:
            yield f"# {name}\n\n{description.strip()}\n"


def _language_reference() -> Iterator[str]:
    """Yield the language reference's sections, where this Python has them."""
    try:
        from pydoc_data.topics import topics  # noqa: PLC0415 (750 kB, and absent on some systems)
    except ImportError:
        return
    for name in sorted(topics):
        yield topics[name].strip() + "\n"


@cache
def _descriptions() -> list[tuple[str, str, str]]:
    """Return each installed package's name, version and description, by name."""
    found = {
        each.metadata["Name"]: (each.version, str(each.metadata.json.get("description") or ""))
        for each in metadata.distributions()
        if each.metadata["Name"]
    }
    return [(name, found[name][0], _without_links(found[name][1])) for name in sorted(found)]


def _without_links(description: str) -> str:
    """Drop the lines that hold addresses: badges and links are not prose."""
    return "\n".join(line for line in description.splitlines() if "://" not in line)


def _modules(package: str) -> Iterator[Path]:
    """Yield the modules of a package whose docstrings are read, each a document."""
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in sorted(Path(folder).rglob(f"*{CODE_SUFFIX}")):
            if not _TESTS & {*path.parts} and path.stat().st_size <= _MOST_SOURCE_BYTES:
                yield path


def _without_sessions(docstring: str) -> str:
    """Drop interpreter sessions with what they print: arrays of numbers are not prose."""
    kept, in_session = [], False
    for line in docstring.splitlines():
        in_session = line.lstrip().startswith(">>>") or (in_session and bool(line.strip()))
        if not in_session:
            kept.append(line)
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept))
    if "Example" in text:  # the pattern is slow where it finds nothing
        text = _EMPTY_EXAMPLES.sub("", text)
    return text.strip()


def _prose_of(path: Path) -> str:
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes in other people's code
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""  # a template, or a file for another Python
    texts = []
    for node in _documented(tree):
        if len(ast.get_docstring(node, clean=False) or "") < _LEAST_CHARACTERS:
            continue
        text = _without_sessions(ast.get_docstring(node) or "")
        if len(text) >= _LEAST_CHARACTERS:
            title = "" if isinstance(node, ast.Module) else f"{node.name}\n\n"
            texts.append(title + text.strip())
    return "\n\n\n".join(texts) + "\n" if texts else ""


def _documented(tree: ast.Module) -> Iterator[_Documented]:
    """Yield what may have a docstring, level by level as ``ast.walk`` does.

    Expressions, which are most of a tree, hold neither classes nor functions and are left out.
    """
    waiting = deque[ast.AST]([tree])
    while waiting:
        node = waiting.popleft()
        if isinstance(node, _Documented):
            yield node
        elif not isinstance(node, _COMPOUND):
            continue
        for block in _BLOCKS:
            waiting.extend(getattr(node, block, ()))
