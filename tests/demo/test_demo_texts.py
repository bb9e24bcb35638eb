from __future__ import annotations

import importlib.util
import inspect
import json
import re
from pathlib import Path

import pytest

from ingot.corpus import CorpusConfig
from ingot.corpus.build.build import list_sources
from ingot.demo import demo_texts


@pytest.fixture(scope="module")
def prose(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = tmp_path_factory.mktemp("prose") / "prose.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_texts, "PACKAGES", ("networkx",))  # the others take seconds more
        shares: list[float] = []
        demo_texts.write_prose(path, shares.append)
        assert shares == sorted(shares)
        assert shares[-1] == 1
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def test_code_holds_no_tests_and_no_codec_tables() -> None:
    config = CorpusConfig(suffixes=(demo_texts.CODE_SUFFIX,), exclude=demo_texts.EXCLUDED)
    files = list_sources([demo_texts.code_folder()], config).files
    assert sum(file.size for file in files) > 5_000_000
    folders = {
        part for file in files for part in file.path.relative_to(demo_texts.code_folder()).parts
    }
    assert "argparse.py" in folders
    assert not folders & {"test", "tests", "encodings", "pydoc_data", "site-packages"}


def test_prose_is_documentation(prose: list[str]) -> None:
    text = "\n".join(prose)
    assert "shortest path" in text  # a package's docstrings
    assert any(each.startswith("# pydantic\n") for each in prose)  # a package's description
    if importlib.util.find_spec("pydoc_data"):  # some systems install Python without it
        assert any(each.startswith('The "assert" statement') for each in prose)
    assert "\ndef " not in text[: len(prose[0])]
    letters = sum(character.isalpha() or character.isspace() for character in text)
    assert letters / len(text) > 0.75
    descriptions = [each for each in prose if each.startswith("# ")]
    assert all("://" not in each for each in descriptions)


def test_the_version_changes_with_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = demo_texts.prose_version()
    assert "pydantic " in before
    monkeypatch.setattr(demo_texts, "_descriptions", lambda: [("other", "1.0", "")])
    assert demo_texts.prose_version() != before


def test_a_module_that_cannot_be_parsed_gives_no_prose(tmp_path: Path) -> None:
    path = tmp_path / "template.py"
    path.write_text("def {{ name }}():\n    '''" + "words " * 99 + "'''\n")
    assert demo_texts._prose_of(path) == ""
    path.write_text("def name():\n    '''" + "words " * 99 + "'''\n")
    assert demo_texts._prose_of(path).startswith("name\n\nwords")


def test_docstrings_are_found_wherever_statements_are(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        inspect.cleandoc(
            """
            if first:
                try:
                    def one(): "WORDS"
                except* OSError:
                    class Two: "WORDS"
            else:
                match value:
                    case 1:
                        with value:
                            async def three():
                                "WORDS"
                                for each in value:
                                    while each:
                                        def four(): "WORDS"
            """
        ).replace("WORDS", "words " * 99)
    )
    names = re.findall(r"^(\w+)$", demo_texts._prose_of(path), re.MULTILINE)
    assert names == ["one", "Two", "three", "four"]


def test_sessions_of_the_interpreter_are_left_out() -> None:
    docstring = """Return the mean.

    Words before.

    Examples
    --------
    >>> for value in (1, 2):
    ...     print(value)
    1
    2

    Notes
    -----
    Words after.
    """
    assert demo_texts._without_sessions(inspect.cleandoc(docstring)) == (
        "Return the mean.\n\nWords before.\n\nNotes\n-----\nWords after."
    )
