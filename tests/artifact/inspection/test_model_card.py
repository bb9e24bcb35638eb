from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ingot.api.ingots import inspect, write_model_card
from ingot.artifact.inspection.model_card import model_card
from ingot.errors import UsageError
from tests.artifact.resealing import copy_writable, reseal

VOID = {"meta"}


class Page(HTMLParser):
    """Checks that every element is closed, and collects elements, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def card(path: Path, name: str = "tiny") -> str:
    found = inspect(path, weights=True)
    assert found.weights is not None
    return model_card(found.summary, found.weights, name)


@pytest.mark.parametrize("which", ["pristine", "quantized"])
def test_it_tells_what_there_is(which: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(which)
    page = card(path)
    shown = Page(page)
    found = inspect(path)
    for expected in (
        found.summary.digest,
        "Attention, by layer",
        "Feed-forward, by layer",
        "self_attn.o_proj",
        "optimizer.lr",
        *(file.sha256 for file in found.summary.files),
    ):
        assert expected in shown.text
    charts = [part.partition("</svg>")[0] for part in page.split("<svg")[1:]]
    assert len(charts) == 5
    for chart in charts:
        ET.fromstring(f"<svg{chart}</svg>")  # well-formed
    assert "loss of the run" not in page


def test_it_runs_no_script_and_loads_nothing(pristine: Path) -> None:
    page = Page(card(pristine))
    assert not page.tags & {"script", "link", "img", "iframe", "object", "a", "base", "form"}
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href", "style"}
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_texts_of_the_ingot_stay_texts(pristine: Path, tmp_path: Path) -> None:
    path = copy_writable(pristine, tmp_path / "x.ingot")
    hostile = "</style><script>alert(1)</script>\x1b[31m"

    def edit(content: dict[str, Any]) -> None:
        content["provenance"]["code_version"] = hostile
        content["provenance"]["recipe"] = {hostile: {hostile: hostile}}

    reseal(path, edit)
    page = card(path, name=hostile)
    shown = Page(page)
    assert not shown.tags & {"script"}
    assert page.count("</style>") == 1
    assert "\x1b" not in page
    assert "</style><script>alert(1)</script>\\x1b[31m" in shown.text


def test_losses_of_the_run(pristine: Path, tmp_path: Path) -> None:
    path = copy_writable(pristine, tmp_path / "x.ingot")
    curve = [[1, 5.0], [2, 4.0], [3, 3.5]]
    reseal(path, lambda content: content["provenance"].update(training_curve=curve))
    assert card(path).count("loss of the run") == 1
    points = {"training_curve": curve, "validation_curve": [[3, 3.75]]}
    reseal(path, lambda content: content["provenance"].update(points))
    page = card(path)
    assert '<polyline class="line training"' in page
    assert '<circle class="dot validation"' in page


def test_writing(pristine: Path, tmp_path: Path) -> None:
    found = inspect(pristine, weights=True)
    write_model_card(found, tmp_path / "card.html")
    assert "<h1>tiny</h1>" in (tmp_path / "card.html").read_text()
    with pytest.raises(UsageError, match="needs the weights"):
        write_model_card(inspect(pristine), tmp_path / "card.html")
    with pytest.raises(UsageError, match="cannot be written"):
        write_model_card(found, tmp_path / "absent" / "card.html")
