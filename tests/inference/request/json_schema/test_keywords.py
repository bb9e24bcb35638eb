"""The documented table of keywords against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ingot.inference.request import grammar_compiler, grammar_worker
from ingot.inference.request.json_schema import keywords as kw

DOCUMENT = Path(__file__).parents[4] / "docs" / "structured-outputs.md"
SECTIONS = {
    "Enforced": kw.ENFORCED | kw.IDENTIFIERS,
    "Written in another way": kw.REWRITTEN,
    "Refused": kw.UNENFORCEABLE,
    "Annotations": kw.ANNOTATIONS,
    "Formats": kw.FORMATS,
}


def keywords_of(section: str) -> set[str]:
    text = DOCUMENT.read_text().partition(f"### {section}\n")[2].partition("\n#")[0]
    table = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    prose = [line for line in text.splitlines() if not line.startswith("|")]
    return set(re.findall(r"`([^`]+)`", "\n".join([*table, *prose])))


@pytest.mark.parametrize("section", SECTIONS)
def test_the_table_names_every_keyword_and_no_other(section: str) -> None:
    """FAULTS C5: the documented table is what the code does."""
    assert keywords_of(section) == SECTIONS[section]


def test_no_keyword_is_two_things() -> None:
    groups = list(SECTIONS.values())
    assert len(frozenset().union(*groups)) == sum(map(len, groups))


def test_the_limits_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text()
    for said in (
        f"{grammar_compiler.MAX_GRAMMAR_BYTES >> 10} KiB",
        f"{grammar_compiler._MEMORY >> 20} MiB, {grammar_compiler._MAX_SIZE >> 20} MiB",
        f"compile | {grammar_compiler._MAX_COMPILE_S} s",
        f"{grammar_worker._STEP_S * 1e3} ms and {grammar_worker._STEP_S_PER_TOKEN * 1e9:.0f} ns",
        f"{grammar_worker._BURST_S * 1e3:.0f} ms at once",
    ):
        assert said in text, said
