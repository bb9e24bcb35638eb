from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from ingot.errors import ResourceError
from ingot.lesson.experiments.phases import Phases
from ingot.lesson.report.compare import write_report
from ingot.lesson.report.picture import Box, Picture, Words


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
    page, image = write_report(measured, "<script>x</script>", tmp_path / "report")
    parser = Texts()
    parser.feed(page.read_text())
    assert "script" not in parser.tags
    assert parser.tags.count("tr") > 8
    assert any("<script>x</script>" in text for text in parser.texts)
    assert f"{measured.break_even:,.0f} answers" in parser.texts
    assert not re.search(r"(src|href)=", page.read_text())
    with Image.open(image) as opened:
        assert opened.format == "PNG"
        assert opened.width == 1920
        colors = opened.convert("RGB").getcolors(1 << 20)
    assert colors is not None
    assert len(colors) > 10  # something was drawn


def test_svg_and_png_show_the_same_boxes() -> None:
    picture = Picture(40, 20, "#ffffff", "a box", [Box(10, 5, 4, 4, "#ff0000")])
    assert '<rect x="10" y="5" width="4" height="4" fill="#ff0000"/>' in picture.svg()
    with Image.open(io.BytesIO(picture.png())) as image:
        assert image.size == (80, 40)
        assert image.getpixel((22, 12)) == (255, 0, 0)
        assert image.getpixel((19, 12)) == (255, 255, 255)


def test_words_are_escaped() -> None:
    picture = Picture(40, 20, "#fff", 'a "title" & <b>', [Words(0, 10, "<i>&", "#000")])
    assert "<i>" not in picture.svg()
    assert "<b>" not in picture.svg()


def test_a_folder_that_is_not_there_is_said(measured: Phases, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="choose another --out"):
        write_report(measured, "x", tmp_path / "no" / "report")
