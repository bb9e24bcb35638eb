"""Messages of the view Chat: Markdown, their actions, and the reader's place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from ingot.api.inference import Model
from tests.browser.driving import (
    DONE,
    answer,
    begin_chat,
    clear_status,
    generate,
    set_up,
    streamed,
    writing,
)

CHATS = "**/v1/chat/completions"
MARKDOWN = """# Title

A **bold** and *slanted* `code`, a [link](https://example.org/a?b=1&c=2), &amp; <b>no tag</b>.

1. one
2. two
   - inner \\(a_1 * b_1 * c\\) and $x_1 + y_1$, for $5 and $6

| a | b |
|---|--:|
| 1 | 2 |

```python
def f(x):
    return "text"  # <script>
```

- [x] done
- [ ] open

[bad](javascript:alert(1)) ![a picture](https://example.org/x.png)
"""


@pytest.fixture
def chat(page: Page) -> Page:
    """An empty conversation."""
    begin_chat(page)
    return page


def ask(page: Page, text: str = "Tell me") -> None:
    page.fill("#prompt", text)
    page.keyboard.press("Enter")


@pytest.mark.parametrize("screen", ["desktop", "phone"])
def test_an_answer_is_markdown_built_without_html(
    open_page: Callable[..., Page], screen: str
) -> None:
    page = open_page(screen=screen)
    begin_chat(page)
    page.route(CHATS, writing(MARKDOWN))
    ask(page)
    prose = page.locator(".prose")
    expect(prose.locator("h3")).to_have_text("Title")
    expect(prose.locator("strong").first).to_have_text("bold")
    expect(prose.locator("em").first).to_have_text("slanted")
    expect(prose.locator("ol > li")).to_have_count(2)
    expect(prose.locator("ol ul li")).to_have_text(
        "inner \\(a_1 * b_1 * c\\) and $x_1 + y_1$, for $5 and $6"
    )
    expect(prose.locator(".math")).to_have_text(["\\(a_1 * b_1 * c\\)", "$x_1 + y_1$"])
    expect(prose.locator("th")).to_have_text(["a", "b"])
    expect(prose.locator("td").nth(1)).to_have_class("align-right")
    expect(prose).to_contain_text("& <b>no tag</b>.")
    link = prose.get_by_role("link", name="link", exact=True)
    expect(link).to_have_attribute("href", "https://example.org/a?b=1&c=2")
    expect(link).to_have_attribute("rel", re.compile("noopener"))
    expect(prose.get_by_role("checkbox").first).to_be_checked()
    expect(prose.locator("a")).to_have_count(2)  # a script's address is not a link
    expect(prose.locator(".image a")).to_have_attribute("href", "https://example.org/x.png")
    assert prose.locator("b, img, script").count() == 0
    expect(prose.locator("pre .hl-keyword").first).to_have_text("def")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_code_is_copied_as_it_is(chat: Page) -> None:
    chat.context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat.route(CHATS, writing(MARKDOWN))
    ask(chat)
    chat.get_by_role("button", name="Copy code").click()
    copied = chat.evaluate("navigator.clipboard.readText()")
    assert copied == 'def f(x):\n    return "text"  # <script>'
    chat.locator(".assistant").get_by_role("button", name="Copy", exact=True).click()
    assert chat.evaluate("navigator.clipboard.readText()") == MARKDOWN


def test_growing_text_keeps_its_elements(chat: Page) -> None:
    """What was selected stays selected, and the result is that of the whole text."""
    chat.evaluate(
        """async (text) => {
      const { MarkdownDocument } = await import("/page/chat/markdown/document.js");
      const [grown, whole] = [document.createElement("div"), document.createElement("div")];
      const growing = new MarkdownDocument(grown);
      let first = null;
      for (let end = 1; end <= text.length; end += 1) {
        growing.update(text.slice(0, end));
        if (grown.querySelector("strong")?.nextSibling) first ??= grown.querySelector("strong");
      }
      growing.update(text, true);
      new MarkdownDocument(whole).update(text, true);
      await new Promise((done) => setTimeout(done, 1000));  // colours
      window.result = { kept: first?.isConnected ?? first === grown.querySelector("strong"),
        same: first === grown.querySelector("strong"),
        grown: grown.innerHTML, whole: whole.innerHTML };
    }""",
        MARKDOWN,
    )
    result = chat.evaluate("window.result")
    assert result["same"]
    strip = re.compile(r"</?span[^>]*>")  # of the colours, which may come later to one of them
    assert strip.sub("", result["grown"]) == strip.sub("", result["whole"])


def test_any_turn_can_be_edited(chat: Page) -> None:
    chat.route(CHATS, writing("It is **blue**."))
    ask(chat, "Which colour?")
    expect(chat.locator("#status")).to_have_text(DONE)
    chat.locator(".assistant").get_by_label("Edit").click()
    chat.get_by_label("Edit the answer").fill("It is *green*.")
    chat.get_by_role("button", name="Save", exact=True).click()
    expect(chat.locator(".prose em")).to_have_text("green")
    expect(chat.locator(".assistant .versions")).to_contain_text("2 of 2")
    sent: list[str] = []

    def note(route: Route) -> None:
        sent.append(json.loads(route.request.post_data or "")["messages"][1]["content"])
        writing("Yes.")(route)

    chat.unroute(CHATS)
    chat.route(CHATS, note)
    ask(chat, "Sure?")
    expect(chat.locator(".assistant")).to_have_count(2)
    assert sent == ["It is *green*."]
    chat.locator("#prompt").press("ArrowUp")
    expect(chat.get_by_label("Edit and send again")).to_have_value("Sure?")
    chat.keyboard.press("Escape")
    expect(chat.locator(".user .text").last).to_have_text("Sure?")


def test_a_chat_is_continued_where_it_stopped(chat: Page, model: Model) -> None:
    sent: list[dict[str, object]] = []

    def note(route: Route) -> None:
        sent.append(json.loads(route.request.post_data or ""))
        route.continue_()

    chat.route(CHATS, note)
    set_up(chat, temperature="0")
    first = generate(chat, 4, "one")
    clear_status(chat)
    chat.get_by_role("button", name="Continue", exact=True).click()
    expect(chat.locator("#status")).to_have_text(DONE)
    expect(chat.locator(".assistant")).to_have_count(1)
    assert sent[1]["continue_final_message"] is True
    messages = sent[1]["messages"]
    assert isinstance(messages, list)
    assert messages[-1]["role"] == "assistant"
    assert len(messages[-1]["content"]) > 0
    assert answer(chat).inner_text()[: len(first.strip()) // 2] in answer(chat).inner_text()


def test_the_text_being_read_never_moves(
    open_page: Callable[..., Page], model: Model, wait_until: Callable[..., None]
) -> None:
    page = open_page(screen="phone")
    set_up(page, max_tokens="3000")
    page.fill("#prompt", "def main():")
    page.keyboard.press("Enter")
    top = "document.querySelector('.user').getBoundingClientRect().top"
    wait_until(page, lambda: len(answer(page).inner_text()) > 100)
    at_first = page.evaluate(top)
    expect(page.locator("#to-end")).to_be_visible()
    assert page.evaluate(top) == at_first
    page.click("#to-end")
    expect(page.locator("#to-end")).to_be_hidden()
    wait_until(page, lambda: page.evaluate(top) < at_first - 300)
    page.locator("#scroller").hover()
    page.mouse.wheel(0, -10_000)
    wait_until(page, lambda: page.evaluate("document.querySelector('#scroller').scrollTop") == 0)
    length = len(answer(page).inner_text())
    wait_until(page, lambda: len(answer(page).inner_text()) > length)
    assert page.evaluate("document.querySelector('#scroller').scrollTop") == 0
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text("Stopped.")
    wait_until(page, lambda: model.loop.stats().running == 0)


def test_a_screen_reader_hears_an_answer_when_it_is_complete(chat: Page) -> None:
    expect(chat.locator("#messages")).to_have_attribute("aria-live", "off")
    chat.route(CHATS, writing("It is blue."))
    ask(chat)
    expect(chat.locator("#announcer")).to_have_text("small answered: It is blue.")


def test_figures_are_one_line_that_opens_and_stays(chat: Page) -> None:
    generate(chat, 6, "one")
    line = chat.locator(".figures-line")
    expect(line.locator("summary")).to_contain_text(re.compile(r"^6 tokens · .* tokens/s"))
    expect(line.locator("dl")).to_be_hidden()
    line.locator("summary").click()
    expect(line.locator("dl")).to_contain_text("First token")
    chat.reload()
    expect(line.locator("summary")).to_contain_text("6 tokens")
    expect(chat.locator(".assistant .who")).to_have_text("small")
    expect(chat.locator(".user .who")).to_have_text("You")


def test_probabilities_of_an_answer_are_behind_a_button(chat: Page) -> None:
    generate(chat, 6, "one")
    toggle = chat.get_by_role("button", name="Probabilities of the tokens")
    toggle.click()
    chat.locator(".assistant .token").nth(1).hover()
    expect(chat.locator(".probabilities")).to_contain_text("%")
    toggle.click()
    expect(chat.locator(".prose")).to_be_visible()


def test_a_cut_connection_keeps_what_arrived(chat: Page) -> None:
    body = streamed(["Half an ", "answer"]).split("data: [DONE]")[0]
    chat.route(
        CHATS,
        lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body),
    )
    ask(chat)
    expect(chat.locator("#status")).to_contain_text("closed before the answer was complete")
    expect(answer(chat)).to_have_text("Half an answer")
