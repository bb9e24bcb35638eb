"""The context of a chat: how full it is, and what happens before it is full."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from ingot.api import inference
from ingot.api.inference import Model
from ingot.inference import EngineConfig
from ingot.server import Server, ServerConfig
from tests.browser.driving import answer, begin_chat, generate, set_up

LIMIT = 192
SCREENS = ("desktop", "phone")
LONG = "def main():\n    return 0\n" * 8


@pytest.fixture(scope="module")
def tight(model: Model) -> Iterator[Server]:
    """A server whose context is less than the model's."""
    engine = EngineConfig(max_context=LIMIT)
    with (
        inference.load(model.ingot.path, executor="torch", engine=engine) as small,
        Server(small.ingot, small.loop, ServerConfig(port=0)) as server,
    ):
        yield server


def tokens(server: Server, **fields: object) -> int:
    body = {"model": "small", **fields}
    return int(httpx.post(f"{server.url}/tokenize", json=body, timeout=300).json()["count"])


def meter(page: Page) -> str:
    return page.locator("#context-meter").get_attribute("aria-label") or ""


def sent(page: Page) -> list[list[dict[str, str]]]:
    """Collect the messages of every chat request from now on."""
    bodies: list[list[dict[str, str]]] = []

    def note(request: object) -> None:
        text = getattr(request, "post_data", None) or ""
        if str(getattr(request, "url", "")).endswith("/v1/chat/completions"):
            bodies.append(json.loads(text)["messages"])

    page.on("request", note)
    return bodies


@pytest.mark.parametrize("screen", SCREENS)
def test_the_meter_counts_what_would_be_sent(
    open_page: Callable[..., Page], server: Server, screen: str
) -> None:
    page = open_page(screen=screen)
    begin_chat(page)
    page.fill("#prompt", "one two three")
    messages = [{"role": "user", "content": "one two three"}]
    expected = tokens(server, messages=messages)
    label = f"Context: {expected:,} of 4,096 tokens"
    expect(page.locator("#context-meter")).to_have_attribute("aria-label", label)
    page.fill("#prompt", "")
    first = generate(page, 5, "one two three")
    messages.append({"role": "assistant", "content": first})
    stored = page.evaluate("JSON.parse(localStorage['ingot.conversations'])[0].nodes")
    texts = {node["text"] for node in stored.values() if node["role"] == "assistant"}
    messages[1]["content"] = texts.pop()
    label = f"Context: {tokens(server, messages=messages):,} of 4,096 tokens"
    expect(page.locator("#context-meter")).to_have_attribute("aria-label", label)
    page.click("#context-meter")
    expect(page.locator("#context-panel")).to_be_visible()
    expect(page.locator("#context-panel")).to_contain_text("The limit cannot be raised")
    box = page.locator("#context-panel").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]  # type: ignore[index]


@pytest.mark.parametrize("screen", SCREENS)
def test_a_full_context_is_announced_and_the_oldest_turns_can_be_dropped(
    open_page: Callable[..., Page], tight: Server, screen: str
) -> None:
    """FAULTS E2."""
    page = open_page(screen=screen, url=tight.url)
    requests = sent(page)
    begin_chat(page)
    set_up(page, temperature="0")
    generate(page, 30, "one " + LONG)
    page.fill("#prompt", "two " + LONG)
    expect(page.locator("#context-notice")).to_be_visible()
    expect(page.locator("#context-notice")).to_contain_text("is full")
    expect(page.locator("#context-notice")).to_be_in_viewport()
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("was not sent")
    expect(page.locator("#prompt")).to_have_value("two " + LONG)
    expect(page.locator(".message")).to_have_count(2)
    assert len(requests) == 1  # the server never had to refuse it
    page.locator("#context-notice").get_by_text("Drop the oldest turns").click()
    expect(page.locator("#status")).to_have_text("One turn is no longer sent.")
    expect(page.locator("#context-notice")).to_be_hidden()
    page.click("#generate")
    expect(page.locator(".message")).to_have_count(4)
    expect(page.locator("#status")).to_have_text(re.compile("Stopped at|ended its text"))
    assert [message["content"] for message in requests[1]] == ["two " + LONG]
    expect(page.locator(".message.dropped")).to_have_count(2)
    page.reload()
    expect(page.locator(".message.dropped")).to_have_count(2)
    page.get_by_role("button", name="Send them again").click()
    expect(page.locator(".message.dropped")).to_have_count(0)


def test_a_limit_that_can_be_raised_says_how(open_page: Callable[..., Page], tight: Server) -> None:
    page = open_page(url=tight.url)
    begin_chat(page)
    page.fill("#prompt", LONG * 3)
    notice = page.locator("#context-notice")
    expect(notice).to_contain_text("the next message cannot be sent")
    notice.get_by_text("Raise the limit").click()
    expect(page.locator("#context-panel")).to_contain_text("--set engine.max_context=4096")
    page.keyboard.press("Escape")
    notice.get_by_text("Drop the oldest turns").click()
    expect(page.locator("#status")).to_contain_text("There is no older turn to drop")
    notice.get_by_text("New conversation").click()
    expect(page.locator(".message")).to_have_count(0)


def test_a_base_model_says_that_it_continues_text(page: Page) -> None:
    expect(page.locator("#base-model")).to_contain_text("continues the text that you give it")
    begin_chat(page)
    expect(page.locator("#base-model")).to_contain_text("has not seen conversations")
    page.click("text=Continue a text instead")
    expect(page.locator("#mode-prompt")).to_be_checked()
    assert generate(page, 5)
    assert answer(page).inner_text()


def test_the_judgement_of_a_context(page: Page) -> None:
    judged = page.evaluate(
        """async () => {
          const { judge, roomFor } = await import("/page/chat/context/budget.js");
          const { fewest, cuts } = await import("/page/chat/context/dropping.js");
          const levels = [10, 85, 91, 99, 100, 150].map(
            (used) => judge({ used, answer: 10, limit: 100 }).level);
          const roles = ["user", "assistant", "tool", "assistant", "user", "assistant"];
          const nodes = roles.map((role) => ({ role }));
          const asked = [];
          const found = await fewest([1, 2, 3, 4, 5, 6, 7, 8], async (number) => {
            asked.push(number);
            return number >= 6;
          });
          return [levels, cuts(nodes, false), cuts(nodes, true), found, asked.length,
            await fewest([1, 2], async () => false), roomFor(10, 100), roomFor(90, 100)];
        }"""
    )
    assert judged == [
        ["free", "near", "short", "short", "full", "full"],
        [4],
        [4, 6],
        6,
        4,
        None,
        25,
        50,
    ]
