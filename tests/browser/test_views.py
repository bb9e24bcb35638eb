"""The other views, and what holds for all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Locator, Page, Route, expect

from ingot.api import inference
from ingot.api.inference import Model, native_core_is_built
from ingot.lesson.report.record import Record
from ingot.lesson_content import read_content
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key
from tests.browser.driving import generate, set_up

VIEWS = ("chat", "train", "serve", "phases", "learn")
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"
TIMES = "\N{MULTIPLICATION SIGN}"


@pytest.mark.parametrize("screen", ["desktop", "phone"])
def test_every_view_fits_and_is_accessible(open_page: Callable[..., Page], screen: str) -> None:
    page = open_page(screen=screen, scheme="dark" if screen == "phone" else "light")
    page.fill("#prompt", "def main():")
    page.click("#generate")
    for view in VIEWS:
        page.click(f"nav a[href='#{view}']")
        shown = page.locator(f"#view-{view}")
        expect(shown).to_be_visible()
        expect(shown.locator("h2:visible, textarea:visible").first).to_be_visible()
        expect(page.locator(f"nav a[href='#{view}']")).to_have_attribute("aria-current", "page")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), view
        found = Axe().run(page).response["violations"]
        bad = [
            (each["id"], each["impact"], [node["html"][:120] for node in each["nodes"]][:3])
            for each in found
            if each["impact"] in ("serious", "critical", "moderate")
        ]
        assert bad == [], view


@pytest.fixture
def changing(model: Model) -> Iterator[Server]:
    """A separate server, for tests that change the served models."""
    with inference.serve(model, ServerConfig(port=0)) as server:
        yield server


def test_the_lesson_can_be_finished_in_the_page(
    open_page: Callable[..., Page], changing: Server
) -> None:
    page = open_page("learn", screen="phone", url=changing.url)
    experiment = page.get_by_label("One weight")
    for value in ("0.8", "1.04", "1.232"):
        expect(experiment).to_contain_text(value)
    expect(experiment).to_contain_text("it shrinks")
    page.fill("#weight-rate", "1.5")
    expect(experiment).to_contain_text("it grows without end")
    page.fill("#weight-input", "-2")
    page.select_option("#weight-rule", "gradient")
    page.fill("#weight-rate", "0.1")
    expect(experiment).to_contain_text("multiplies the error by 0.2: it shrinks")
    learn = page.locator("#view-learn")
    expect(learn).to_contain_text(f"1.232 {TIMES} 2 = 2.464, 1.536 short of 4")
    page.select_option("#frozen-model", "1")
    expect(learn).to_contain_text(f"≈2 {TIMES} 2 = ≈4, the target")
    page.select_option("#frozen-model", "2")
    expect(learn).to_contain_text(f"0.25 {TIMES} 2 = 0.5, 3.5 short of 4")
    page.select_option("#frozen-model", "0")
    page.click("text=Write the weight")
    expect(page.locator(".refusal")).to_contain_text("TypeError")
    expect(page.locator(".refusal")).to_contain_text("still 1.232")
    learn.get_by_text("If you want to know more").click()
    expect(learn.get_by_text("the learning rate is too high")).to_be_visible()
    page.click("text=Predict the next token")
    expect(learn).to_contain_text("memory match the sealed ones")
    learn.get_by_text("Answer 8 users").click()
    switches = ["Caching", *["Quantization"] * native_core_is_built(), "Batching"]
    for switch in switches:
        learn.get_by_label(switch).check()
    learn.locator("button:has-text('Answer 8 users'):enabled").click()
    expect(learn).to_contain_text(" + ".join(switches).lower())
    for number, question in enumerate(read_content().questions):
        group = page.locator("fieldset.question").nth(number)
        wrong = question.choices[0 if question.answer != question.choices[0] else 1]
        group.get_by_label(wrong if number == 0 else question.answer, exact=True).check()
        group.get_by_text("Answer", exact=True).click()
        expect(group).to_contain_text("Measured now:")
        expect(group).to_contain_text("No: " if number == 0 else "Right: ")
    expect(learn).to_contain_text("Your score: 5 of 6.")


def test_what_the_last_lesson_measured_is_shown(
    open_page: Callable[..., Page], record: Record
) -> None:
    page = open_page("learn")
    learn = page.locator("#view-learn")
    expect(learn).to_contain_text("9 of 10 weights changed, digest aaaaaaaa became bbbbbbbb")
    expect(learn.locator("pre")).to_have_text("<b>x</b>")
    expect(learn).to_contain_text("50.00%")
    expect(learn).to_contain_text(
        "Training a large model as published would keep it busy for 200,000 years"
    )
    expect(learn).to_contain_text("changed (aaaaaaaa to bbbbbbbb) by one update")
    expect(learn).to_contain_text(f"{record.phases.break_even:,.0f} answers")
    expect(learn.get_by_role("row", name="caching 192 500 ms 8.0")).to_be_visible()
    question = read_content().questions[0]
    group = page.locator("fieldset.question").first
    group.get_by_label(question.answer, exact=True).check()
    group.get_by_text("Answer", exact=True).click()
    expect(group).to_contain_text("In the lesson: as updates showed.")
    assert page.locator("main b").count() == 0
    page.click("nav a[href='#phases']")
    expect(page.locator("#view-phases")).to_contain_text("Measured 20")
    expect(page.locator("#view-phases")).to_contain_text("unchanged (cccccccc) by 32 answers")


def test_without_a_lesson_the_page_says_how_to_run_it(open_page: Callable[..., Page]) -> None:
    page = open_page("learn")
    expect(page.locator("#view-learn .notice")).to_contain_text("run: ingot lesson")


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
    status = page.locator("#view-train .status")
    expect(status).to_have_text("100,000 updates read, 1 invalid lines skipped.")
    charts = page.locator("#view-train .chart")
    expect(charts).to_have_count(4)
    for chart in charts.all():
        expect(chart.locator("canvas")).to_be_visible()
        assert curve_width(chart) > 0.7
    title = "Training loss, nats per token"
    label = f"{title}. metrics.jsonl: from 5 to 3"
    expect(charts.first).to_have_attribute("aria-label", label)
    expect(page.locator(".samples pre")).to_have_text(HOSTILE * 2)
    assert page.locator("main img").count() == 0
    metrics.write_text("no metrics")
    page.set_input_files("#run-files", metrics)
    expect(status).to_contain_text("holds no updates of a run")


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
    chart = page.locator("#view-train .chart").first
    expect(chart.locator(".u-legend .u-label")).to_have_text(["updates", "run 1", "run 2"])
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
    chart = page.locator("#view-train .chart").first
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
    status = page.locator("#view-train .status")
    expect(status).to_have_text("Watching: update 2, loss 7.000.")
    page.evaluate("() => window.finishLine()")
    expect(status).to_have_text("Watching: update 4, loss 5.000.")
    chart = page.locator("#view-train .chart").first
    assert hover(chart, 1) == ["4", "5"]
    select(page, chart, 0.1, 0.5)
    assert hover(chart, 1) == ["2", "7"]
    page.evaluate("() => window.grow()")
    expect(status).to_have_text("Watching: update 6, loss 3.000.")
    assert hover(chart, 1) == ["2", "7"]
    chart.locator(".u-over").dblclick()
    assert hover(chart, 1) == ["6", "3"]


def test_the_skip_link_stays_in_the_view(open_page: Callable[..., Page]) -> None:
    page = open_page("learn")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("#view-learn")).to_be_visible()


def test_one_of_several_models_is_chosen(browser: Browser, model: Model) -> None:
    further = [("twin", model.ingot, model.loop)]
    with Server(model.ingot, model.loop, ServerConfig(port=0), further=further) as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        page.select_option("#model", "twin")
        expect(page.locator("#generate")).to_be_enabled()
        set_up(page, max_tokens="4")
        page.click("#toggle-drawer")
        page.locator("#drawer summary", has_text="Side by side").click()
        page.check("#side-by-side")
        page.select_option("#other-model", "small")
        page.fill("#prompt", "def main():")
        page.click("#generate")
        for summary in page.locator(".pair .figures-line summary").all():
            summary.click()
        expect(page.locator(".pair .figures").nth(0)).to_contain_text("twin, ")
        expect(page.locator(".pair .figures").nth(1)).to_contain_text("small, ")
        context.close()


def test_a_request_is_listed_and_cancelled_in_serve(
    open_page: Callable[..., Page], model: Model, wait_until: Callable[..., None]
) -> None:
    page = open_page("chat")
    set_up(page, max_tokens="4000")
    page.fill("#prompt", "def main():")
    page.click("#generate")
    expect(page.locator("#status")).not_to_have_text("")
    other = page.context.new_page()
    other.goto(page.url.split("#")[0] + "#serve")
    view = other.locator("#view-serve")
    running = view.get_by_role("region", name="Running requests")
    expect(running).to_contain_text("small")
    running.get_by_role("button", name="Cancel request").click()
    expect(view).to_contain_text("No request is running.")
    expect(page.locator("#status")).to_contain_text("was cancelled")
    used = view.get_by_role("region", name="What each key has used")
    expect(used).to_contain_text("no key")
    wait_until(page, lambda: model.loop.stats().running == 0)


def test_serve_shows_what_the_server_does(open_page: Callable[..., Page], model: Model) -> None:
    page = open_page("serve")
    figures = page.locator("#view-serve .figures")
    expect(figures).to_contain_text("Running")
    model.generate("a", max_tokens=5)
    written = f"{model.loop.stats().generated_tokens:,}"
    expect(figures).to_contain_text(written)
    page.context.set_offline(True)
    expect(page.locator("#view-serve .status")).to_contain_text("does not answer")
    page.context.set_offline(False)
    expect(page.locator("#view-serve .status")).to_have_text("")


def test_both_phases_are_measured(open_page: Callable[..., Page]) -> None:
    page = open_page("phases")
    view = page.locator("#view-phases")
    expect(view).to_contain_text("614,400 read, once")
    page.fill("#digest-count", "20")
    page.click("text=Answer and compare")
    expect(view).to_contain_text("after 20 answers in")
    expect(view).to_contain_text("unchanged")
    page.click("text=Measure")
    expect(view).to_contain_text("16 users at once")


def test_an_ingot_that_was_exchanged_is_noticed(page: Page) -> None:
    def fulfil(route: Route) -> None:
        event = {
            "system_fingerprint": "f" * 64,
            "choices": [{"text": "x", "finish_reason": "stop"}],
        }
        body = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n"
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    page.route("**/v1/completions", fulfil)
    page.fill("#prompt", "def main():")
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("other weights than before")


@pytest.fixture
def guarded(model: Model, tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A server that asks for a key, and the key."""
    key, entry = make_key("reader")
    keys = tmp_path / "keys.toml"
    keys.write_text(entry)
    keys.chmod(0o600)
    with Server(model.ingot, model.loop, ServerConfig(port=0, api_keys=keys)) as server:
        yield server, key


def test_a_key_is_asked_for_and_used(browser: Browser, guarded: tuple[Server, str]) -> None:
    server, key = guarded
    context = browser.new_context()
    page = context.new_page()

    def let_in(route: Route) -> None:
        # The page's own files come with a key here; what its code asks for does not.
        route.continue_(headers={**route.request.headers, "authorization": f"Bearer {key}"})

    page.route(lambda url: url.endswith("/") or "/page/" in url, let_in)
    page.goto(server.url)
    expect(page.locator("#key-dialog")).to_be_visible()
    page.fill("#key", "wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-dialog")).to_be_visible()
    page.fill("#key", key)
    page.keyboard.press("Enter")
    expect(page.locator("#model-name")).to_have_text("small")
    expect(page.locator("#generate")).to_be_enabled()
    generate(page, 5)
    assert key not in json.dumps(page.evaluate("({...localStorage})"))
    context.close()


def test_the_page_is_small(open_page: Callable[..., Page]) -> None:
    page = open_page()
    for view in VIEWS:
        page.click(f"nav a[href='#{view}']")
        expect(page.locator(f"#view-{view} :is(h2, textarea):visible").first).to_be_visible()
    # What is requested repeatedly, such as /metrics, counts once.
    transferred = page.evaluate("""() => {
      const entries = performance.getEntriesByType("resource");
      const sizes = new Map(entries.map((each) => [each.name, each.encodedBodySize]));
      return [...sizes.values()].reduce((sum, size) => sum + size, 0);
    }""")
    assert 20_000 < transferred <= 250_000
