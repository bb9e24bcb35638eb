from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingot.artifact.inspection.svg_charts import (
    WIDTH,
    Bar,
    Box,
    Line,
    _ticks,
    bars,
    boxes,
    histogram,
    lines,
)

FINITE = st.floats(-1e30, 1e30)


def numbers(chart: str, tag: str, attribute: str) -> list[float]:
    return [float(each.get(attribute, "nan")) for each in ET.fromstring(chart).iter(tag)]


@given(low=FINITE, span=st.floats(1e-9, 1e30))
@example(low=900719925474099.0, span=0.375)
def test_ticks_are_few_and_within(low: float, span: float) -> None:
    high = low + span
    found = _ticks(low, high, 5)
    assert 1 <= len(found) <= 7
    assert found == sorted(found)
    slack = (high - low) * 1e-6
    assert all(low - slack <= tick <= high + slack for tick in found)


def test_ticks_are_round() -> None:
    assert _ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert _ticks(0.3, 1.1, 5) == pytest.approx([0.4, 0.6, 0.8, 1.0])
    assert _ticks(3, 3, 5) == [3]


def test_bars_are_in_proportion() -> None:
    chart = bars([Bar("a", [("matrix", 3), ("scales", 1)], "x"), Bar("<b>", [("m", 2)], "y")], "t")
    widths = numbers(chart, "rect", "width")
    assert widths[0] == pytest.approx(3 * widths[1], abs=0.2)
    assert widths[2] == pytest.approx(2 * widths[1], abs=0.2)
    assert "&lt;b&gt;" in chart


@given(points=st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=20))
def test_lines_stay_inside(points: list[tuple[float, float]]) -> None:
    chart = lines([Line("a", "training", sorted(points))], "title", "x", 200)
    for line in ET.fromstring(chart).iter("polyline"):
        for pair in line.get("points", "").split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= WIDTH
            assert -1 <= y <= 201


def test_boxes_keep_the_order_of_the_quantiles() -> None:
    box = Box("7", (-2.0, -1.0, 0.0, 1.0, 2.0), -9, 9)
    chart = boxes([box, box], "title", "layer")
    (top, _) = numbers(chart, "rect", "y")
    (height, _) = numbers(chart, "rect", "height")
    whiskers = [
        each for each in ET.fromstring(chart).iter("line") if each.get("class") == "whisker"
    ]
    assert float(whiskers[0].get("y2", "")) < top < top + height < float(whiskers[0].get("y1", ""))
    assert "from -9 to 9" in chart
    # One value everywhere: nothing has an extent, and nothing is divided by it.
    ET.fromstring(boxes([Box("0", (1.0,) * 5, 1, 1)], "title", "layer"))


def test_a_histogram_has_a_step_for_each_bin() -> None:
    (shape,) = ET.fromstring(histogram([0.0, 0.5, 0.5], -1, 1, "title")).iter("polygon")
    assert len(shape.get("points", "").split()) == 8
    ET.fromstring(histogram([0.0, 0.0], -1, 1, "title"))
