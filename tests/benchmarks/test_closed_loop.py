from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks import closed_loop
from benchmarks.closed_loop import ANSWER, OURS, measure_closed_loop, tpot_s
from benchmarks.http_load import Exchange, Loop
from benchmarks.random_models import SHAPES
from benchmarks.report import Report
from benchmarks.serving import Sizes

SIZES = Sizes(1, 8, 8, 0.5, (1, 4), 1, 0.1, 0.1)


def test_our_server_is_measured_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "100M", SHAPES["5M"])
    report = Report("serve", {})
    measure_closed_loop(report, tmp_path, SIZES, tmp_path / "loops.png")
    figures = {row.name: row for row in report.rows}
    for clients in SIZES.clients:
        title = f"{OURS}, {clients} clients"
        assert figures[f"{title}: failed"].met
        tokens = figures[f"{title}: throughput"].value
        goodput = figures[f"{title}: goodput"].value
        assert tokens is not None
        assert goodput is not None
        assert tokens > 0
        assert 0 <= goodput <= tokens / ANSWER + 1e-9  # a busy machine may meet no objective
        assert figures[f"{title}: TTFT p50"].value <= figures[f"{title}: TTFT p99"].value
    with Image.open(tmp_path / "loops.png") as picture:
        assert picture.width > 500
    assert any("left out" in note for note in report.notes)


def test_time_per_token_takes_the_servers_count() -> None:
    body = b'data: {"choices": [], "usage": {"completion_tokens": 5}}\n\ndata: [DONE]\n\n'
    exchange = Exchange(10.0, 200, [11.0, 13.0], bytearray(body), 13.0)
    assert tpot_s(exchange) == pytest.approx(0.5)  # two seconds, four tokens after the first


def test_goodput_is_compared_with_the_best_peer() -> None:
    report = Report("serve", {})
    nothing = (0.0, 0.0)

    def loops(*goodputs: float) -> list[Loop]:
        return [Loop(1, 1.0, goodput, nothing, nothing, nothing, 0) for goodput in goodputs]

    closed_loop.report_loops(
        report, {OURS: loops(3.0, 5.0), "slow": loops(1.0, 2.0), "fast": loops(4.0, 3.0)}
    )
    last = report.rows[-1]
    assert (last.value, last.peer, last.peer_value, last.ratio) == (5.0, "fast", 4.0, 1.25)
    assert last.met is False
