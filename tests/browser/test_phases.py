"""The view Two phases: an update and requests of one model, each measured when it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from ingot.api import inference
from ingot.api.executors import native_core_is_built
from ingot.api.inference import Model
from ingot.server import Server, ServerConfig
from tests.browser.conftest import SCREENS
from tests.browser.driving import accessibility_faults

LIT = """(canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let lit = 0;
  for (let at = 0; at < data.length; at += 4)
    lit += data[at + 3] > 0 && data[at] > data[at + 2] + 40;
  return lit;
}"""


@pytest.fixture
def serving(model: Model) -> Iterator[Server]:
    """A server that may train and load copies."""
    with inference.serve(model, ServerConfig(port=0)) as server:
        yield server


def test_both_columns_move_and_only_one_changes_weights(
    open_page: Callable[..., Page],
    serving: Server,
    wait_until: Callable[[Page, Callable[[], bool]], None],
) -> None:
    page = open_page("phases", url=serving.url)
    page.emulate_media(reduced_motion="reduce")
    view = page.locator("#view-phases")
    training, inferring = view.locator(".training"), view.locator(".inference")
    expect(training.locator("canvas")).to_be_visible()
    canvases = [column.locator("canvas") for column in (training, inferring)]
    # A band that was on its way when motion was refused leaves with the next frame.
    wait_until(page, lambda: [each.evaluate(LIT) for each in canvases] == [0, 0])
    page.fill("#phase-text", "def main():\n    return 0")
    page.click("#phase-play")
    expect(training).to_contain_text(re.compile("Done: 6 updates in"))
    expect(training).to_contain_text(re.compile(r"\d of [\d,]+ weights changed"))
    losses = [float(text) for text in training.locator(".losses li").all_inner_texts()]
    assert len(losses) == 7
    assert losses[-1] < losses[0]
    bars = training.locator(".gauge .bar")
    heights = bars.evaluate_all("(all) => all.map((each) => each.style.height)")
    assert len(heights) > 3
    assert all(re.fullmatch(r"[\d.e-]+%", height) for height in heights)
    expect(inferring).to_contain_text(re.compile("Done: 192 tokens in"))
    expect(inferring).to_contain_text("No weight changed")
    expect(inferring).to_contain_text(re.compile(r"tokens a step: 192 in \d\d steps"))
    assert training.locator("canvas").evaluate(LIT) > 100
    assert inferring.locator("canvas").evaluate(LIT) == 0
    filled = inferring.locator(".kv-grid .lane").first.locator(".prompt, .written")
    assert filled.count() >= 24
    expect(inferring.locator(".lanes li").first.locator(".fresh")).to_have_count(24)
    expect(view).to_contain_text("serving has taken as long as training after")
    for scheme, (width, height) in zip(("light", "dark", "dark"), SCREENS.values(), strict=True):
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        canvas = training.locator("canvas")
        assert canvas.evaluate("(each) => each.clientWidth") < width
        assert canvas.evaluate(LIT) > 100
        assert accessibility_faults(page) == []


@pytest.mark.parametrize("screen", SCREENS)
def test_users_are_served_on_every_screen(open_page: Callable[..., Page], screen: str) -> None:
    page = open_page("phases", screen=screen)
    page.emulate_media(reduced_motion="reduce")
    page.click("#phase-serve")
    column = page.locator("#view-phases .inference")
    expect(column).to_contain_text("No weight changed")
    dots = column.locator(".batch .dot")
    expect(dots).to_have_count(8)
    expect(column.locator(".lanes .fresh")).to_have_count(192)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_switches_act_on_the_bill(open_page: Callable[..., Page], serving: Server) -> None:
    page = open_page("phases", url=serving.url)
    page.emulate_media(reduced_motion="reduce")
    view = page.locator("#view-phases")
    page.click("#phase-serve")
    bill = view.locator(".inference .bars li")
    expect(bill).to_have_count(1)
    expect(bill.first).to_contain_text("caching + batching")
    expect(bill.first).to_contain_text("for 192 written")
    page.uncheck("input[name=batching]")
    page.click("#phase-serve")
    expect(bill).to_have_count(2)
    # One token a step at most; a token that would leave half a character is sampled again.
    told = re.compile(r"tokens a step: 192 in (19\d|[2-9]\d\d) steps")
    expect(view.locator(".inference")).to_contain_text(told)
    page.uncheck("input[name=caching]")
    page.check("input[name=batching]")
    page.click("#phase-serve")
    expect(bill).to_have_count(3)
    computed = [
        int(re.search(r"([\d,]+) tokens computed", text)[1].replace(",", ""))  # type: ignore[index]
        for text in bill.all_inner_texts()
    ]
    assert computed[0] == computed[1] < computed[2] / 4


@pytest.mark.skipif(not native_core_is_built(), reason="the core rounds weights")
def test_a_quantized_copy_takes_less_memory(
    open_page: Callable[..., Page], serving: Server
) -> None:
    page = open_page("phases", url=serving.url)
    page.emulate_media(reduced_motion="reduce")
    column = page.locator("#view-phases .inference")
    weights = column.locator(".parts dd").first
    expect(weights).to_contain_text("B")
    before = weights.inner_text()
    page.check("input[name=quantization]")
    page.click("#phase-serve")
    expect(column.locator(".bars li")).to_contain_text("caching + batching + quantization")
    expect(column).to_contain_text("Rounded when it was loaded")
    assert float(weights.inner_text().split()[0]) < float(before.split()[0])


def test_a_server_that_may_not_train_says_so(open_page: Callable[..., Page]) -> None:
    page = open_page("phases")
    page.click("#phase-train")
    status = page.locator("#view-phases .training .status")
    expect(status).to_contain_text("without the means to train")
    page.locator("#view-phases summary").click()
    expect(page.locator("#view-phases")).to_contain_text("614,400 read, once")


def test_motion_is_shown_where_it_is_not_refused(
    open_page: Callable[..., Page], serving: Server
) -> None:
    page = open_page("phases", url=serving.url)
    now = page.locator("#view-phases .training .stages .now")
    # Before anything is measured a drawing moves, and is called one.
    expect(page.locator("#view-phases .inference .stages .now")).to_have_text("append")
    expect(now).to_have_text("change")
    expect(page.locator("#view-phases")).to_contain_text("What moves now is a drawing.")
    expect(page.locator("#view-phases .chips .gauge .bar").first).to_have_css("height", "0px")
    page.click("#phase-train")
    expect(page.locator("#view-phases")).not_to_contain_text("is a drawing")
    for stage in ("predict", "compare", "change"):
        expect(now).to_have_text(stage)
    expect(page.locator("#view-phases .training")).to_contain_text("Done: 6 updates")
