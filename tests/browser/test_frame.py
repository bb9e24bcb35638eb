"""The frame of the view Chat: conversations, settings, colours, keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from ingot.server import Server
from tests.browser.driving import (
    DONE,
    accessibility_faults,
    answer,
    begin_chat,
    send,
    set_up,
    writing,
)

CHATS = "**/v1/chat/completions"
SCREENS = ("desktop", "tablet", "phone")


def item(page: Page, title: str) -> Locator:
    return page.locator("#conversations li", has=page.get_by_role("button", name=title, exact=True))


def open_list(page: Page) -> None:
    """Show the conversations, which a small screen hides."""
    expect(page.locator("#generate")).to_be_enabled()
    if not page.locator("#sidebar").is_visible():
        page.click("#toggle-sidebar")


def converse(page: Page, *questions: str) -> None:
    """Begin a conversation for each question."""
    page.route(CHATS, writing("An answer."))
    for question in questions:
        if page.locator(".message").count():
            open_list(page)
            page.click("#new")
        page.fill("#prompt", question)
        send(page)
        expect(page.locator("#status")).to_have_text(DONE)


@pytest.mark.parametrize("screen", SCREENS)
def test_conversations_are_searched_renamed_deleted_and_put_back(
    open_page: Callable[..., Page], screen: str
) -> None:
    page = open_page(screen=screen)
    begin_chat(page)
    converse(page, "about apples", "about pears")
    open_list(page)
    expect(page.locator("#conversations .title")).to_have_text(["about pears", "about apples"])
    page.fill("#search", "APPLES")
    expect(page.locator("#conversations .title")).to_have_text(["about apples"])
    page.fill("#search", "no such words")
    expect(page.locator("#conversations")).to_contain_text("No conversation holds these words.")
    page.fill("#search", "")
    item(page, "about pears").hover()
    page.get_by_label("Rename “about pears”").click()
    page.get_by_label("Name", exact=True).fill("Fruit")
    page.keyboard.press("Enter")
    item(page, "Fruit").hover()
    page.get_by_label("Delete “Fruit”").click()
    expect(page.locator("#conversations .title")).to_have_text(["about apples"])
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#conversations .title")).to_have_text(["Fruit", "about apples"])
    page.reload()
    open_list(page)
    expect(page.locator("#conversations .title")).to_have_text(["Fruit", "about apples"])
    item(page, "about apples").get_by_role("button", name="about apples", exact=True).click()
    expect(page.locator(".user .text")).to_have_text("about apples")
    if screen != "desktop":
        expect(page.locator("#sidebar")).to_be_hidden()


def test_one_conversation_is_exported(page: Page, tmp_path: Path) -> None:
    begin_chat(page)
    converse(page, "about apples", "about pears")
    item(page, "about pears").hover()
    with page.expect_download() as download:
        page.get_by_label("Export “about pears”").click()
    assert download.value.suggested_filename == "ingot-about-pears.json"
    kept = tmp_path / "one.json"
    download.value.save_as(kept)
    (one,) = json.loads(kept.read_text())["conversations"]
    assert [each["text"] for each in one["nodes"].values()] == ["", "about pears", "An answer."]


@pytest.mark.parametrize("screen", SCREENS)
def test_what_lies_above_takes_the_focus_and_returns_it(
    open_page: Callable[..., Page], screen: str
) -> None:
    page = open_page(screen=screen, scheme="dark")
    page.click("#toggle-drawer")
    expect(page.locator("#drawer")).to_be_in_viewport()
    assert accessibility_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if screen == "desktop":
        page.fill("#prompt", "still in reach")
        page.click("#close-drawer")
    else:
        assert page.evaluate("document.querySelector('.conversation').inert")
        page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page.locator("#toggle-drawer")).to_be_focused()
    if screen != "desktop":
        page.click("#toggle-sidebar")
        assert accessibility_faults(page) == []
        page.mouse.click(page.viewport_size["width"] - 10, 300)  # type: ignore[index]
        expect(page.locator("#sidebar")).to_be_hidden()


def test_a_preset_sets_what_it_names_and_can_be_saved(page: Page) -> None:
    expect(page.locator("#preset-name")).to_have_text("Balanced")
    page.click("#toggle-drawer")
    page.select_option("#preset", "Precise")
    assert page.locator("#temperature").input_value() == "0"
    expect(page.locator("#preset-name")).to_have_text("Precise")
    page.fill("#system", "Be brief.")
    page.locator("#temperature").fill("0.3")
    expect(page.locator("#preset-name")).to_have_text("Settings")
    page.get_by_text("Save these settings").click()
    page.get_by_label("Name of the preset").fill("Mine")
    page.get_by_role("button", name="Save", exact=True).click()
    page.select_option("#preset", "Creative")
    page.fill("#system", "")
    page.select_option("#preset", "Mine")
    assert page.locator("#system").input_value() == "Be brief."
    assert page.locator("#temperature").input_value() == "0.3"
    page.locator(".preset").get_by_role("button", name="Delete").click()
    expect(page.locator("#preset option")).not_to_contain_text(["Mine"])
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#preset-name")).to_have_text("Mine")
    page.reload()
    expect(page.locator("#preset-name")).to_have_text("Mine")


def test_colours_follow_the_system_until_one_is_chosen(page: Page) -> None:
    shown = page.locator("html")
    expect(shown).to_have_attribute("data-scheme", "light")
    page.emulate_media(color_scheme="dark")
    expect(shown).to_have_attribute("data-scheme", "dark")
    page.get_by_role("button", name="Colours: system").click()
    expect(shown).to_have_attribute("data-scheme", "light")
    page.reload()
    expect(shown).to_have_attribute("data-scheme", "light")
    page.get_by_role("button", name="Colours: light").click()
    expect(shown).to_have_attribute("data-scheme", "dark")
    page.get_by_role("button", name="Colours: dark").click()
    page.emulate_media(color_scheme="light")
    expect(shown).to_have_attribute("data-scheme", "light")


def test_the_keys_that_are_listed_work(page: Page) -> None:
    page.locator("body").press("?")
    keys = page.get_by_role("dialog", name="Keyboard")
    expect(keys).to_contain_text("Regenerate the last answer")
    expect(keys.get_by_role("heading", name="Keyboard")).to_be_focused()  # read from its top
    assert accessibility_faults(page) == []
    keys.get_by_role("button", name="Close").click()
    expect(keys).to_be_hidden()
    page.locator("#scroller").press("s")
    expect(page.locator("#drawer")).to_be_visible()
    page.locator("#scroller").press("s")
    expect(page.locator("#drawer")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#prompt")).to_be_focused()
    page.keyboard.type("a?")
    expect(page.locator("#prompt")).to_have_value("a?")
    page.locator("#scroller").press("3")
    expect(page.locator("#view-serve")).to_be_visible()
    page.locator("body").press("?")
    page.get_by_label("Single keys work").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("1")
    page.wait_for_timeout(50)
    expect(page.locator("#view-serve")).to_be_visible()


@pytest.mark.parametrize("screen", SCREENS)
def test_a_suggestion_is_asked_at_a_touch(open_page: Callable[..., Page], screen: str) -> None:
    page = open_page(screen=screen)
    set_up(page, max_tokens="4")
    expect(page.locator("#welcome")).to_contain_text("small · ")
    page.locator(".suggestion").first.click()
    expect(page.locator("#status")).to_have_text(DONE)
    expect(page.locator(".user .text")).to_contain_text("Return the number of")
    expect(answer(page)).to_be_in_viewport()


def test_the_address_of_a_demo_opens_on_an_answer(
    open_page: Callable[..., Page], server: Server
) -> None:
    page = open_page(url=f"{server.url}/?open=answer&temperature=0")
    expect(page.locator(".user .text")).to_contain_text("Return the number of")
    expect(answer(page)).not_to_be_empty()
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator(".message")).to_have_count(2)  # a second visit asks nothing


def test_a_draft_outlives_a_reload(page: Page) -> None:
    page.fill("#prompt", "half a thought")
    page.reload()
    expect(page.locator("#prompt")).to_have_value("half a thought")
