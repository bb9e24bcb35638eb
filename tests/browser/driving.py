"""What people do in the view Chat, for the tests of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Locator, Page, Route, expect

DONE = re.compile("Stopped at|ended its text")
SEARCHED = "**/v1/*completions"


def answer(page: Page) -> Locator:
    """Return the text of the last answer."""
    return page.locator(".assistant .text").last


def set_up(page: Page, **settings: str) -> None:
    """Change settings in the drawer, by their ids with underscores, and close it again."""
    page.click("#toggle-drawer")
    for name, value in settings.items():
        field = page.locator(f"#{name.replace('_', '-')}")
        if not field.is_visible():
            page.locator("#drawer summary", has_text="More settings").click()
        field.fill(value)
    page.click("#close-drawer")


def generate(page: Page, tokens: int, prompt: str = "def main():") -> str:
    """Send a prompt, wait for the end of its answer, and return that."""
    set_up(page, max_tokens=str(tokens))
    page.fill("#prompt", prompt)
    send(page)
    expect(page.locator("#status")).to_have_text(DONE)
    return answer(page).inner_text()


def send(page: Page) -> None:
    """Press the button that sends, after the status of an earlier answer was cleared."""
    clear_status(page)
    page.click("#generate")


def clear_status(page: Page) -> None:
    """Remove what the status says, so that an end seen later is that of the next answer."""
    page.evaluate("document.querySelector('#status').textContent = ''")


def accessibility_faults(page: Page) -> list[tuple[str, list[str]]]:
    """Return what axe finds wrong, from moderate on; colours count once they no longer move."""
    page.evaluate(
        """() => Promise.all(document.getAnimations()
          .filter((each) => Number.isFinite(each.effect.getComputedTiming().endTime))
          .map((each) => each.finished.catch(() => null)))"""
    )
    return [
        (found["id"], [node["html"][:120] for node in found["nodes"]][:3])
        for found in Axe().run(page).response["violations"]
        if found["impact"] in ("moderate", "serious", "critical")
    ]


def begin_chat(page: Page) -> None:
    """Begin a conversation in place of a text to continue."""
    page.click("label[for=mode-chat]")
    expect(page.locator("#mode-chat")).to_be_checked()


def streamed(pieces: list[str], reason: str = "stop") -> str:
    """Return the body of a streamed chat answer that arrives in these pieces."""
    events = [
        {"choices": [{"index": 0, "delta": {"content": each}, "finish_reason": None}]}
        for each in pieces
    ]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


def writing(text: str) -> Callable[[Route], None]:
    """Return a handler of chat requests that answers with this text, word by word."""
    body = streamed(re.findall(r"\s*\S+|\s+$", text))
    return lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body)
