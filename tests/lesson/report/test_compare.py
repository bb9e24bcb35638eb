from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from ingot.errors import ResourceError
from ingot.lesson.experiments.phases import Phases
from ingot.lesson.report.compare import write_report


class Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_report_is_written_as_a_page_and_a_picture(measured: Phases, tmp_path: Path) -> None:
    # Markup stays text, and so do dollar signs, which matplotlib would take for a formula.
    name = "<script>x</script> $_$"
    page, image = write_report(measured, name, tmp_path / "report")
    parser = Texts()
    parser.feed(page.read_text())
    assert "script" not in parser.tags
    assert parser.tags.count("tr") > 8
    assert sum(name in text for text in parser.texts) == 3  # title, heading, plot
    assert f"{measured.break_even:,.0f} answers" in parser.texts
    assert "training, once" in page.read_text()
    assert not re.search(r"""(src|href)=["'][^#]""", page.read_text())  # it needs no other file
    with Image.open(image) as opened:
        assert opened.format == "PNG"
        assert opened.width == 1920
        colors = opened.convert("RGB").getcolors(1 << 20)
    assert colors is not None
    assert len(colors) > 10  # something was drawn


def test_a_folder_that_is_not_there_is_said(measured: Phases, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="choose another --out"):
        write_report(measured, "x", tmp_path / "no" / "report")
