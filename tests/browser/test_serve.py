"""The view Serve: the live batch, histograms, costs and running requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from ingot.api import inference
from ingot.api.inference import Model
from ingot.costs import CostConfig
from ingot.inference import SamplingParams
from ingot.server import Server, ServerConfig
from tests.browser.conftest import SCREENS
from tests.browser.driving import set_up


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


def test_requests_are_sent_for_those_who_want_to_see_some(open_page: Callable[..., Page]) -> None:
    page = open_page("serve", screen="phone")
    view = page.locator("#view-serve")
    view.get_by_role("button", name="Send requests for 6 seconds").click()
    expect(view.locator(".batch-picture")).to_contain_text("small: 8 running, 0 waiting")
    # On a phone each request is a separate block, so that nothing is cut at the side.
    table = view.get_by_role("region", name="Running requests")
    expect(table).to_contain_text("small")
    assert table.evaluate("each => each.scrollWidth <= each.clientWidth")
    expect(table.locator("td[data-label='Prompt tokens']").first).to_be_visible()
    view.get_by_role("button", name="Stop").click()
    expect(view.locator(".batch-picture")).to_contain_text("small: at rest")
    view.get_by_text("What these figures mean").click()
    expect(view.locator(".explained")).to_contain_text("kept so that it is not computed again")


@pytest.fixture
def priced(model: Model) -> Iterator[Server]:
    """A server that knows what an hour of its machine costs."""
    cost = CostConfig(price_per_hour=0.4, currency="EUR")
    with inference.serve(model, ServerConfig(port=0), cost=cost) as server:
        yield server


@pytest.mark.parametrize("screen", SCREENS)
def test_the_batch_is_drawn_while_it_runs(
    open_page: Callable[..., Page],
    model: Model,
    wait_until: Callable[..., None],
    screen: str,
) -> None:
    page = open_page("serve", screen=screen)
    picture = page.locator(".batch-picture")
    expect(picture).to_contain_text("small: at rest")
    expect(picture).to_contain_text("Nobody asks at the moment.")
    params = SamplingParams(max_tokens=3000, temperature=0, ignore_eos=True)
    running = [model.loop.submit([65, 66, 67], params, lambda _: None) for _ in range(3)]
    expect(picture).to_contain_text("small: 3 running, 0 waiting")
    lanes = picture.locator(".running li")
    expect(lanes).to_have_count(3)
    expect(lanes.first).to_contain_text("3 read")
    expect(lanes.first).to_contain_text("of 3,000 written")
    colours = """(canvas) => {
      const copy = new OffscreenCanvas(canvas.width, canvas.height);
      const context = copy.getContext("2d", { willReadFrequently: true });
      context.drawImage(canvas, 0, 0);
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      const found = new Set();
      for (let at = 0; at < data.length; at += 4)
        if (data[at + 3] === 255) found.add(data.slice(at, at + 3).join());
      return found.size;
    }"""
    wait_until(page, lambda: picture.locator("canvas").evaluate(colours) >= 3)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for sequence in running:
        model.loop.cancel(sequence)
    expect(picture).to_contain_text("small: at rest")


@pytest.mark.parametrize("screen", SCREENS)
def test_times_have_round_axes_and_tokens_a_price(
    open_page: Callable[..., Page], priced: Server, screen: str
) -> None:
    page = open_page("serve", screen=screen, url=priced.url)
    view = page.locator("#view-serve")
    expect(view).to_contain_text("No requests yet.")
    body = {
        "model": "small",
        "prompt": "def",
        "max_tokens": 8,
        "temperature": 0,
        "ignore_eos": True,
    }
    answer = page.request.post(f"{priced.url}/v1/completions", data=body)
    assert answer.ok
    times = view.get_by_role("img", name="Time to first token: 1 requests")
    expect(times).to_be_visible()
    marks = times.locator(".time").all_inner_texts()
    assert set(marks) <= {"100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "1.67 min"}
    assert len(marks) >= 2
    assert times.locator(".count").all_inner_texts() == ["2", "1", "0"]
    expect(view.locator(".figures")).to_contain_text("A million tokens written cost")


@pytest.mark.parametrize("screen", SCREENS)
def test_objectives_are_shown_where_they_are(
    open_page: Callable[..., Page], model: Model, screen: str
) -> None:
    config = ServerConfig(port=0, objective="ttft=300s,itl=50s,p=95")
    with inference.serve(model, config) as stated:
        page = open_page("serve", screen=screen, url=stated.url)
        shown = page.get_by_role("region", name="Objectives, kept in the last minute")
        expect(shown).to_contain_text("first token 5 min (p95), between tokens 50 s (p95)")
        body = {"model": "small", "prompt": "def", "max_tokens": 8, "temperature": 0}
        assert page.request.post(f"{stated.url}/v1/completions", data=body).ok
        expect(shown).to_contain_text("100%")
        expect(shown).to_contain_text(re.compile("predicted, .* measured"))
        own = page.get_by_role("region", name="In time and refused, by model and key")
        row = own.get_by_role("row", name="small")
        expect(row).to_contain_text("no key")
        expect(row).to_contain_text("100%")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
