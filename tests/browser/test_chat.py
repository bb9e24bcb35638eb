"""The view Chat as people use it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from ingot.api.inference import Model
from ingot.server import Server
from tests.browser.driving import DONE, answer, begin_chat, clear_status, generate, set_up

SCREENS = ("desktop", "tablet", "phone")
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


@pytest.mark.parametrize("screen", SCREENS)
def test_a_prompt_is_answered_and_measured(
    open_page: Callable[..., Page], model: Model, screen: str
) -> None:
    page = open_page(screen=screen)
    assert generate(page, 30)
    expect(answer(page)).to_have_attribute("aria-busy", "false")
    page.locator(".figures-line summary").click()
    figures = page.locator(".assistant .figures").inner_text()
    assert re.search(r"First token\s+[\d.]+ m?s", figures)
    assert re.search(r"Tokens/s\s+\d", figures)
    assert re.search(r"Tokens\s+30", figures)
    assert model.digest[:12] in figures
    page.click("#toggle-drawer")
    expect(page.locator("#digest")).to_have_text(model.digest)


def test_retry_keeps_both_answers_and_greedy_ones_are_the_same(page: Page) -> None:
    set_up(page, temperature="0")
    first = generate(page, 20)
    page.get_by_role("button", name="Regenerate").click()
    expect(page.locator(".assistant .versions")).to_contain_text("2 of 2")
    expect(page.locator("#status")).to_have_text(DONE)
    assert answer(page).inner_text() == first
    page.get_by_label("Previous version").click()
    expect(page.locator(".assistant .versions")).to_contain_text("1 of 2")
    page.get_by_label("Next version").click()
    expect(page.locator(".assistant .versions")).to_contain_text("2 of 2")


def test_stop_frees_the_engine_and_keeps_what_was_written(
    page: Page, model: Model, wait_until: Callable[..., None]
) -> None:
    set_up(page, max_tokens="4000")
    page.fill("#prompt", "def main():")
    page.click("#generate")
    expect(answer(page)).to_have_text(re.compile("."))
    page.click("#stop")
    expect(page.locator("#status")).to_have_text("Stopped.")
    assert answer(page).inner_text()
    wait_until(page, lambda: model.loop.stats().running == 0)


def test_the_keyboard_is_enough(page: Page) -> None:
    set_up(page, max_tokens="4000")
    page.locator("#prompt").fill("def")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("main")
    expect(page.locator("#prompt")).to_have_value("def\nmain")
    page.keyboard.press("Enter")
    expect(answer(page)).to_have_attribute("aria-busy", "true")
    expect(page.locator(".user .text")).to_have_text("def\nmain", use_inner_text=True)
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text("Stopped.")
    page.fill("#prompt", "def")
    page.focus("#generate")
    page.keyboard.press("Enter")
    expect(page.locator("#stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#generate")).to_be_focused()


def test_each_token_shows_its_probability_and_alternatives(page: Page) -> None:
    set_up(page, temperature="0")
    text = generate(page, 12)
    tokens = page.locator(".assistant .token")
    pieces = "".join(tokens.all_inner_texts())
    assert text.removesuffix("\N{REPLACEMENT CHARACTER}") == pieces != ""  # half a character
    tokens.nth(2).hover()
    expect(page.locator(".probabilities")).to_contain_text(re.compile(r"\d%.*instead of.*\d%"))
    page.mouse.move(0, 0)
    expect(page.locator(".probabilities")).to_be_hidden()
    answer(page).focus()
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(0)).to_have_class(re.compile("selected"))
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(1)).to_have_class(re.compile("selected"))
    page.locator("#prompt").focus()
    expect(page.locator(".probabilities")).to_be_hidden()


def test_a_prompt_can_be_continued_from_its_answer(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    first = generate(page, 5)
    clear_status(page)
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.locator("#status")).to_have_text(DONE)
    assert answer(page).inner_text().startswith(first)
    expect(page.locator(".assistant")).to_have_count(1)
    prompts = [json.loads(body)["prompt"] for body in sent if "stream_options" in body]
    assert prompts == ["def main():", "def main():" + first]


def test_the_address_says_how_a_first_visit_begins(
    open_page: Callable[..., Page], server: Server
) -> None:
    page = open_page(url=f"{server.url}/?mode=chat&temperature=0.2&top-p=0.9&system=no")
    expect(page.locator("#mode-chat")).to_be_checked()
    assert page.locator("#temperature").input_value() == "0.2"
    assert page.locator("#top-p").input_value() == "0.9"
    assert page.locator("#system").input_value() == ""


def test_a_chat_has_a_memory_that_can_be_edited_and_branched(page: Page) -> None:
    sent: list[list[dict[str, str]]] = []

    def note(route: Route) -> None:
        sent.append(json.loads(route.request.post_data or "")["messages"])
        route.continue_()

    page.route("**/v1/chat/completions", note)
    begin_chat(page)
    set_up(page, system="Be brief.")
    first = generate(page, 5, "one")
    generate(page, 5, "two")
    assert [message["role"] for message in sent[1]] == ["system", "user", "assistant", "user"]
    assert [message["content"].split() for message in sent[1][1:3]] == [["one"], first.split()]
    page.locator(".user").first.get_by_label("Edit").click()
    page.get_by_label("Edit and send again").fill("three")
    page.click("text=Send again")
    expect(page.locator(".user .versions")).to_contain_text("2 of 2")
    expect(page.locator("#status")).to_have_text(DONE)
    assert [message["content"] for message in sent[2]] == ["Be brief.", "three"]
    page.get_by_label("Previous version").click()
    expect(page.locator(".message")).to_have_count(4)
    page.locator(".assistant").first.get_by_label("Branch").click()
    expect(page.locator(".message")).to_have_count(2)
    expect(page.locator("#conversations li")).to_have_count(2)


@pytest.mark.parametrize("screen", SCREENS)
def test_a_refused_chat_message_leaves_no_trace(
    open_page: Callable[..., Page], screen: str
) -> None:
    """FAULTS E2."""
    page = open_page(screen=screen)
    begin_chat(page)
    generate(page, 5, "one")
    long = "x y " * 4000
    page.fill("#prompt", long)
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("4,096")
    expect(page.locator("#status")).to_be_in_viewport()
    expect(page.locator(".message")).to_have_count(2)
    expect(page.locator("#prompt")).to_have_value(long)
    generate(page, 5, "two")
    expect(page.locator(".message")).to_have_count(4)
    expect(page.locator(".message").last).to_be_in_viewport()


def compare(page: Page, temperature: str) -> None:
    """Ask for a second answer to each question, at another temperature."""
    page.click("#toggle-drawer")
    page.locator("#drawer summary", has_text="Side by side").click()
    page.check("#side-by-side")
    page.fill("#other-temperature", temperature)
    page.click("#close-drawer")


def test_two_answers_side_by_side(page: Page) -> None:
    set_up(page, temperature="0")
    compare(page, "0")
    generate(page, 15)
    texts = page.locator(".pair .assistant .text").all_inner_texts()
    assert len(texts) == 2
    assert texts[0] == texts[1] != ""


def test_one_of_two_answers_may_be_refused(page: Page) -> None:
    compare(page, "1.5")

    def refuse(route: Route) -> None:
        if json.loads(route.request.post_data or "")["temperature"] == 1.5:
            route.fulfill(status=429, json={"error": {"message": "too many requests"}})
        else:
            route.continue_()

    page.route("**/v1/completions", refuse)
    set_up(page, max_tokens="5")
    page.fill("#prompt", "def main():")
    page.click("#generate")
    expect(page.locator("#status")).to_have_text("too many requests")
    expect(page.locator(".assistant")).to_have_count(1)
    expect(answer(page)).to_have_text(re.compile("."))


def test_an_answer_follows_a_json_schema(page: Page) -> None:
    set_up(page, schema='{"enum": ["north", "south"]}')
    assert json.loads(generate(page, 40)) in ("north", "south")
    set_up(page, schema="[not a schema")
    page.fill("#prompt", "def")
    page.click("#generate")
    expect(page.locator("#status")).to_have_text("The JSON schema is not a JSON object.")


def test_what_is_copied_runs(page: Page, server: Server, model: Model) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    set_up(page, temperature="0")
    set_up(page, top_k="3")
    expected = generate(page, 8, 'it\'s "so"\n')
    page.click("#toggle-drawer")
    page.locator("#drawer summary", has_text="As code").click()
    page.click("#copy-python")
    expect(page.locator("#status")).to_have_text("Copied as Python.")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(page.evaluate("navigator.clipboard.readText()"), {})
    assert printed.getvalue() == expected + "\n"
    page.click("#copy-curl")
    expect(page.locator("#status")).to_have_text("Copied as curl.")
    words = shlex.split(page.evaluate("navigator.clipboard.readText()").replace("\\\n", " "))
    answered = httpx.post(words[1], json=json.loads(words[words.index("-d") + 1])).json()
    assert answered["choices"][0]["text"] == expected
    assert answered["system_fingerprint"] == model.digest


def test_conversations_are_stored_exported_and_imported(page: Page, tmp_path: Path) -> None:
    text = generate(page, 10)
    page.reload()
    expect(answer(page)).to_have_text(text, use_inner_text=True)
    with page.expect_download() as download:
        page.click("#export")
    kept = tmp_path / "kept.json"
    download.value.save_as(kept)
    page.locator("#conversations li").hover()
    page.get_by_label("Delete “def main():”").click()
    expect(page.locator(".message")).to_have_count(0)
    page.set_input_files("#import", kept)
    expect(page.locator("#status")).to_have_text("One conversation imported.")
    expect(answer(page)).to_have_text(text, use_inner_text=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "This file is not JSON."),
        (
            '{"ingot": "conversations", "version": 1, "conversations": [{"nodes": {}}]}',
            "no messages",
        ),
        (
            '{"ingot": "conversations", "version": 1, "conversations": [{"nodes": {"root": '
            '{"children": ["root"]}}}]}',
            "A message in it is invalid.",
        ),
        (
            '{"ingot": "conversations", "version": 1, "conversations": [{"nodes": {"root": '
            '{"children": ["a"]}, "a": {"role": "user", "text": "x", "children": ["a"]}}}]}',
            "too long",
        ),
    ],
)
def test_a_broken_file_is_refused(page: Page, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "file.json"
    file.write_text(content)
    page.set_input_files("#import", file)
    expect(page.locator("#status")).to_contain_text(message)


def test_the_server_proves_its_weights(page: Page, model: Model) -> None:
    page.click("#toggle-drawer")
    page.locator("#drawer summary", has_text=re.compile("^Model$")).click()
    page.click("#verify")
    tensors = len(model.ingot.manifest.tensors)
    expect(page.locator("#status")).to_contain_text(f"Verified: all {tensors} tensors")


def test_a_refusal_is_shown_in_its_own_words(page: Page) -> None:
    page.fill("#prompt", "x y " * 4000)
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("4,096")
    expect(page.locator("#status")).to_have_class(re.compile("error"))


def test_a_server_that_does_not_answer_is_reported_and_can_return(page: Page) -> None:
    page.context.set_offline(True)
    page.fill("#prompt", "def main():")
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("does not answer")
    page.context.set_offline(False)
    generate(page, 5)


def test_what_the_model_writes_never_becomes_html(page: Page) -> None:
    event = {
        "system_fingerprint": "x",
        "choices": [
            {
                "text": HOSTILE,
                "finish_reason": "stop",
                "logprobs": {
                    "tokens": [HOSTILE],
                    "token_logprobs": [-0.5],
                    "top_logprobs": [{HOSTILE: -0.5, "<b>other</b>": -1.5}],
                },
            }
        ],
    }

    def fulfil(route: Route) -> None:
        body = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n"
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    page.route("**/v1/completions", fulfil)
    page.fill("#prompt", HOSTILE)
    page.click("#generate")
    expect(answer(page)).to_have_text(HOSTILE)
    page.locator(".assistant .token").first.hover()
    expect(page.locator(".probabilities")).to_contain_text("<b>other</b>")
    page.reload()  # from what the browser kept
    expect(page.locator(".user .text")).to_have_text(HOSTILE)
    assert page.locator("main img, main script, main b").count() == 0
    assert page.title() == "Ingot"
