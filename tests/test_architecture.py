"""ARCHITECTURE.md, CONTRIBUTING.md and SECURITY.md against the tree that they describe."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "ingot"
DOCUMENTS = ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")
PACKAGES = sorted(path.parent for path in SOURCE.rglob("__init__.py"))
CODE = re.compile(r"`([^`\s]+)`")
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
# A file's name or a folder: with a slash at its end, or an extension of this repository.
PATH = re.compile(
    r"[\w.-]+(/[\w.-]+)*(/|\.(py|md|toml|cpp|h|txt|sh|yaml|js|css|html|service|json|svg|cmake))"
    r"|(?:[\w.-]+/)*(Makefile|Containerfile|CMakeLists\.txt|\.clang-format|\.editorconfig|run)"
)

WRITTEN = ("corpus.json", "ingot.json", "recipe.toml")  # by Ingot, into a user's folders


def mentioned(document: str) -> list[str]:
    """Every path in the prose of a document, with ``:name`` where one follows."""
    prose = FENCED.sub("", (ROOT / document).read_text())
    found = [code for code in CODE.findall(prose) if PATH.fullmatch(code.partition(":")[0])]
    return [code for code in found if code not in WRITTEN]


def located(path: str) -> Path | None:
    """Where a path of a document lies; None if nowhere."""
    candidates = (ROOT / path, SOURCE / path, SOURCE / "server" / "page" / "web" / path)
    return next((candidate for candidate in candidates if candidate.exists()), None)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_exists(document: str) -> None:
    found = mentioned(document)
    assert len(found) > 10
    assert [path for path in found if located(path.partition(":")[0]) is None] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_name_is_defined_in_its_file(document: str) -> None:
    missing = []
    for code in mentioned(document):
        path, _, name = code.partition(":")
        file = located(path)
        if not name or file is None:
            continue
        last = re.escape(name.rpartition(".")[2])
        # A definition in Python, any mention as a whole word in C++ and JavaScript.
        pattern = rf"(class|def) {last}\b|^{last} = " if file.suffix == ".py" else rf"\b{last}\b"
        if not re.search(pattern, file.read_text(), re.MULTILINE):
            missing.append(code)
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text()):
        assert (ROOT / link).exists(), link


def test_the_map_names_every_package_and_no_other() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    tree = text.partition("## The map")[2].partition("```\n")[2].partition("```")[0]
    mapped: list[Path] = []
    parent = ""
    for line in tree.splitlines():
        name, description = line.strip().split(maxsplit=1)
        assert description
        if not line.startswith(" "):
            parent = name if name.endswith("/") else ""
            path = SOURCE / name
        else:
            path = SOURCE / parent / name
        assert path.exists(), line
        if path.is_dir():
            mapped.append(path)
    assert sorted(mapped) == [path for path in PACKAGES if path != SOURCE]
    modules = {path.name for path in SOURCE.glob("*.py")} - {"__init__.py"}
    names = [line.split()[0] for line in tree.splitlines() if not line.startswith(" ")]
    assert sorted(modules) == sorted(name for name in names if name.endswith(".py"))


def test_the_import_contracts_are_all_listed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = [contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]]
    text = (ROOT / "ARCHITECTURE.md").read_text()
    listed = re.findall(r"^\| (.+?) \| .+ \|$", text.partition("## Who may import whom")[2], re.M)
    assert [name for name in names if name not in listed] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_package_says_what_it_is_in_one_line(package: Path) -> None:
    text = (package / "__init__.py").read_text()
    first, *more = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    assert first.endswith((".", ";"))
    assert len(first) + 6 <= 100
    assert not more or not more[0]  # the first line is a sentence of its own


def test_the_changelog_begins_with_the_version_at_hand() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    assert version in newest
    assert newest.startswith("Unreleased") == ("dev" in version)
