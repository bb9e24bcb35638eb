"""The other views, and what holds for all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from ingot.api.inference import Model
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key
from tests.browser.driving import accessibility_faults, generate, set_up

VIEWS = ("chat", "train", "serve", "phases", "learn")
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
        assert accessibility_faults(page) == [], view


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
