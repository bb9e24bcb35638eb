"""The view Train: the served model's own curves, runs from files, and their comparison."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import SCREENS

HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


# Of a chart's canvas: the columns of pixels in which the first curve was drawn.
CURVE_COLUMNS = """(canvas) => {
  const style = getComputedStyle(canvas);
  const pen = new OffscreenCanvas(1, 1).getContext("2d");
  pen.fillStyle = style.getPropertyValue("--curve-0");
  pen.fillRect(0, 0, 1, 1);
  const curve = pen.getImageData(0, 0, 1, 1).data;
  const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const columns = new Set();
  for (let index = 0; index < data.length; index += 4)
    if ([0, 1, 2].every((channel) => Math.abs(data[index + channel] - curve[channel]) < 24)
        && data[index + 3] > 200) columns.add((index / 4) % width);
  return columns.size / width;
}"""


def curve_width(chart: Locator) -> float:
    """Return the share of the canvas' width that its first curve takes."""
    return float(chart.locator("canvas").evaluate(CURVE_COLUMNS))


def hover(chart: Locator, share: float) -> list[str]:
    """Point at a chart, a share of its width from the left; return the legend's values."""
    area = chart.locator(".u-over")
    box = area.bounding_box()
    assert box
    area.hover(position={"x": max(1, share * (box["width"] - 1)), "y": box["height"] / 2})
    return chart.locator(".u-legend .u-value").all_inner_texts()


def select(page: Page, chart: Locator, start: float, end: float) -> None:
    """Drag over a chart, between two shares of its width: it zooms to that."""
    box = chart.locator(".u-over").bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], y, steps=4)
    page.mouse.up()


def test_a_run_is_drawn_from_its_metrics(open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = open_page("train")
    expect(page.locator("#view-train")).to_contain_text("1,200")
    steps = [
        {"event": "stepped", "step": step, "loss": 5 - step / 50_000, "tokens_per_second": 9e3,
         "gradient_norm": 1.5, "learning_rate": 1.0}
        for step in range(1, 100_001)
    ]  # fmt: skip
    sampled = {"event": "sampled", "step": 7, "prompt": HOSTILE, "text": HOSTILE}
    lines = [*map(json.dumps, [*steps, sampled]), "{broken"]
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("\n".join(lines))
    page.set_input_files("#run-files", metrics)
    status = page.locator("#view-train .toolbar + .status")
    expect(status).to_have_text("100,000 updates read, 1 invalid lines skipped.")
    charts = page.locator("#view-train .runs .chart")
    expect(charts).to_have_count(4)
    for chart in charts.all():
        expect(chart.locator("canvas")).to_be_visible()
        assert curve_width(chart) > 0.7
    title = "Loss, nats per token"
    label = f"{title}. metrics.jsonl, training: from 5 to 3"
    expect(charts.first).to_have_attribute("aria-label", label)
    expect(page.locator(".samples pre")).to_have_text(HOSTILE * 2)
    assert page.locator("main img").count() == 0
    metrics.write_text("no metrics")
    page.set_input_files("#run-files", metrics)
    expect(status).to_contain_text("holds no updates of a run")


def test_a_newcomer_is_told_how_to_train_and_what_the_figures_mean(
    open_page: Callable[..., Page],
) -> None:
    page = open_page("train", screen="phone")
    view = page.locator("#view-train")
    view.get_by_text("What these figures mean").click()
    expect(view.locator(".explained")).to_contain_text("kept out of training")
    view.get_by_text("Train, freeze and serve a model of your own").click()
    commands = view.locator(".own-model code").all_inner_texts()
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    training = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    assert len(commands) == 4
    assert all(each in readme + training for each in commands)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    view.get_by_role("button", name=f"Copy {commands[0]}").click()
    expect(page.locator("#toasts")).to_contain_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == commands[0]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_chart_is_read_and_zoomed(open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = open_page("train")
    paths = []
    for run, stride in (("a", 1), ("b", 2)):
        paths.append(tmp_path / f"{run}.jsonl")
        steps = range(1, 1001, stride)
        events = [
            {"event": "stepped", "step": step, "loss": 1000 * stride + step} for step in steps
        ]
        paths[-1].write_text("".join(json.dumps(event) + "\n" for event in events))
    page.set_input_files("#run-files", paths)
    chart = page.locator("#view-train .runs .chart").first
    expect(chart.locator(".u-legend .u-label")).to_have_text(
        ["updates", *(f"{run}.jsonl, training" for run in "ab")]
    )
    assert hover(chart, 0) == ["1", "1001", "2001"]
    assert hover(chart, 1)[:2] == ["1000", "2000"]
    select(page, chart, 0.5, 0.75)
    assert 490 < int(hover(chart, 0)[0]) < 510
    assert 740 < int(hover(chart, 1)[0]) < 760
    chart.locator(".u-over").dblclick()
    assert hover(chart, 0)[0] == "1"


def test_a_chart_follows_the_colour_scheme_and_the_width(
    open_page: Callable[..., Page], wait_until: Callable[..., None], tmp_path: Path
) -> None:
    page = open_page("train")
    metrics = tmp_path / "metrics.jsonl"
    events = [{"event": "stepped", "step": step, "loss": 9 - step} for step in range(1, 9)]
    metrics.write_text("".join(json.dumps(event) + "\n" for event in events))
    page.set_input_files("#run-files", metrics)
    chart = page.locator("#view-train .runs .chart").first
    canvas = chart.locator("canvas")
    expect(canvas).to_be_visible()
    page.emulate_media(color_scheme="dark")
    wait_until(page, lambda: curve_width(chart) > 0.7)
    page.set_viewport_size({"width": 390, "height": 844})
    wait_until(page, lambda: canvas.evaluate("(each) => each.clientWidth") < 390)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_run_can_be_watched_and_stays_zoomed(open_page: Callable[..., Page]) -> None:
    page = open_page("train")
    # The file chooser is the browser's own; behind it stands a file that grows.
    page.evaluate("""() => {
      const line = (step) => JSON.stringify({ event: "stepped", step, loss: 9 - step }) + "\\n";
      window.text = line(1) + line(2) + line(3).slice(0, 10);
      const getFile = async () => new File([window.text], "metrics.jsonl");
      window.showOpenFilePicker = async () => [{ name: "metrics.jsonl", getFile }];
      window.finishLine = () => { window.text += line(3).slice(10) + line(4); };
      window.grow = () => { window.text += line(5) + line(6); };
    }""")
    page.click("text=Watch a run")
    status = page.locator("#view-train .toolbar + .status")
    expect(status).to_have_text("Watching: update 2, loss 7.000.")
    page.evaluate("() => window.finishLine()")
    expect(status).to_have_text("Watching: update 4, loss 5.000.")
    chart = page.locator("#view-train .runs .chart").first
    assert hover(chart, 1) == ["4", "5"]
    select(page, chart, 0.1, 0.5)
    assert hover(chart, 1) == ["2", "7"]
    page.evaluate("() => window.grow()")
    expect(status).to_have_text("Watching: update 6, loss 3.000.")
    assert hover(chart, 1) == ["2", "7"]
    chart.locator(".u-over").dblclick()
    assert hover(chart, 1) == ["6", "3"]


def written(folder: Path, *events: dict[str, object]) -> Path:
    """Write a run's record and return it."""
    folder.mkdir(parents=True)
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def run_events(name: str, *, loss: float, bits: float) -> list[dict[str, object]]:
    """Return the record of a run of 40 updates with one of every event."""
    events: list[dict[str, object]] = [
        {"event": "started", "step": 0, "parameters": 1000, "note": "random weights", "run": name}
    ]
    for step in range(1, 41):
        rate = min(1.0, step / 5, (41 - step) / 20)
        events.append(
            {"event": "stepped", "step": step, "loss": loss + 1 / step, "tokens": 100 * step,
             "bits_per_byte": bits + 1 / step, "learning_rate": rate}
        )  # fmt: skip
        if step % 10 == 0:
            events += [
                {"event": "evaluated", "step": step, "loss": loss, "bits_per_byte": bits},
                {"event": "sampled", "step": step, "prompt": "def", "text": f" after{step}"},
                {
                    "event": "checkpointed",
                    "step": step,
                    "path": f"/x/{name}/checkpoints/step-{step}",
                },
            ]
    events.append({"event": "skipped", "step": 30, "why": "spike", "back_to": 20})
    return events


@pytest.mark.parametrize("screen", SCREENS)
def test_runs_are_compared_by_bits_per_byte(
    open_page: Callable[..., Page], tmp_path: Path, screen: str
) -> None:
    page = open_page("train", screen=screen)
    paths = [
        written(tmp_path / "a", *run_events("wide", loss=2.0, bits=1.5)),
        written(tmp_path / "b", *run_events("deep", loss=3.0, bits=1.25)),
    ]
    page.set_input_files("#run-files", paths)
    view = page.locator("#view-train")
    table = view.get_by_role("region", name="Runs, the best first")
    rows = table.locator("tbody tr")
    expect(rows.first).to_contain_text("1.2500, the best")
    expect(rows.first.get_by_role("textbox")).to_have_value("deep")
    chart = view.locator(".runs .chart").first
    curves = ["wide, training", "wide, held out", "deep, training", "deep, held out"]
    expect(chart.locator(".u-legend .u-label")).to_have_text(["updates", *curves])
    expect(view.locator(".runs figcaption").first).to_have_text("Loss, bits per byte")
    rows.first.get_by_role("textbox").fill("narrow")
    page.keyboard.press("Tab")
    expect(chart.locator(".u-legend")).to_contain_text("narrow, held out")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("screen", SCREENS)
def test_what_happened_is_marked_and_samples_are_a_timeline(
    open_page: Callable[..., Page], tmp_path: Path, screen: str
) -> None:
    page = open_page("train", screen=screen)
    path = written(tmp_path / "a", *run_events("wide", loss=2.0, bits=1.5))
    page.set_input_files("#run-files", path)
    view = page.locator("#view-train")
    expect(view.locator(".runs figcaption").first).to_have_text("Loss, nats per token")
    view.get_by_text("What happened: 8 marks").click()
    marks = view.locator(".marks li")
    expect(marks).to_have_text(
        [
            "started: random weights",
            "update 5: full learning rate",
            "update 10: checkpoint",
            "update 20: checkpoint",
            "update 21: learning rate falls",
            "update 30: checkpoint",
            "update 30: skipped, spike, back to update 20",
            "update 40: checkpoint",
        ]
    )
    samples = view.locator(".samples")
    expect(samples).to_contain_text("after 40 updates, loss 2.02")
    slider = samples.get_by_role("slider")
    slider.focus()
    page.keyboard.press("Home")
    expect(samples.locator("pre")).to_have_text("def after10")
    expect(samples).to_contain_text("after 10 updates")


def test_a_run_and_the_model_sealed_from_it_are_linked(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page("train")
    # The served model's provenance: 1,200 updates and this held-out loss.
    events: list[dict[str, object]] = [
        {"event": "stepped", "step": 1200, "loss": 2.5},
        {"event": "evaluated", "step": 1200, "loss": 2.25, "bits_per_byte": 1.0},
    ]
    page.set_input_files("#run-files", written(tmp_path / "a", *events))
    view = page.locator("#view-train")
    expect(view.get_by_role("link", name="served here as small")).to_be_visible()
    expect(view.get_by_text("What happened: 1 mark")).to_be_visible()
    events[1]["loss"] = 2.26
    page.set_input_files("#run-files", written(tmp_path / "b", *events))
    expect(view.get_by_text("2.2600")).to_be_visible()
    expect(view.get_by_role("link", name="served here as small")).to_have_count(0)


def test_runs_of_a_folder_are_called_as_their_folders(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page("train")
    for name in ("one", "two"):
        written(tmp_path / "runs" / name, {"event": "stepped", "step": 1, "loss": 1.0})
    (tmp_path / "runs" / "notes.txt").write_text("not a run")
    page.set_input_files("#run-folder", tmp_path / "runs")
    legend = page.locator("#view-train .runs .chart").first.locator(".u-legend")
    expect(legend).to_contain_text("one, training")
    expect(legend).to_contain_text("two, training")
