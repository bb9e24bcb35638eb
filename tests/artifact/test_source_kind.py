from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.artifact.source_kind import is_foreign


@pytest.mark.parametrize(
    ("files", "name", "foreign"),
    [
        ({"config.json": "{}"}, "", True),
        ({"config.json": "{}", "ingot.json": "{}"}, "", False),
        ({"model.gguf": "any"}, "model.gguf", True),
        ({"model.gguf/config.json": "{}"}, "model.gguf", True),
        ({"model.bin": "any"}, "model.bin", False),
        ({}, "absent", False),
        ({}, "absent.gguf", True),
        ({}, "a\0b", False),
    ],
)
def test_the_kind_of_a_path(
    tmp_path: Path, files: dict[str, str], name: str, foreign: bool
) -> None:
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    assert is_foreign(tmp_path / name) is foreign


def test_a_name_on_the_hub_is_foreign() -> None:
    assert is_foreign("hf:ORG/NAME")


def test_loading_an_ingot_loads_no_reader_of_other_formats_and_no_http_client(
    run_python: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    """What a short command imports is most of its time."""
    done = run_python(
        "import sys, ingot.cli, ingot.api.inference, ingot.api.sources\n"
        "late = 'ingot.artifact.import_', 'ingot.api.importing', 'ssl', 'urllib.request', 'torch'\n"
        "print([name for name in late if name in sys.modules])\n"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
