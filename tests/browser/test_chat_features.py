"""Files, tools, JSON, models and costs in the view Chat."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from ingot.api import inference
from ingot.api.inference import Model
from ingot.costs import CostConfig
from ingot.server import Server, ServerConfig
from tests.browser.driving import DONE, answer, begin_chat, generate, set_up

SCREENS = ("desktop", "phone")
CITY = {"type": "object", "properties": {"city": {"enum": ["Oslo"]}}, "required": ["city"]}
TOOLS = json.dumps(
    [
        {"name": "weather", "description": "The weather now.", "parameters": CITY},
        {"type": "function", "function": {"name": "time", "parameters": CITY}},
    ]
)


@pytest.fixture(scope="module")
def changeable(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may load ingots of a folder, and that knows what its time costs."""
    folder = tmp_path_factory.mktemp("ingots")
    shutil.copytree(model.ingot.path, folder / "second.ingot")
    config = ServerConfig(port=0, ingots_folder=folder)
    cost = CostConfig(price_per_hour=3600.0, currency="EUR")
    with (
        inference.load(model.ingot.path, executor="torch") as first,
        inference.serve(first, config, executor="torch", cost=cost) as server,
    ):
        yield server


def note_bodies(page: Page) -> list[dict[str, Any]]:
    """Collect the body of every chat request from now on."""
    bodies: list[dict[str, Any]] = []

    def note(request: Any) -> None:
        if request.url.endswith("/v1/chat/completions"):
            bodies.append(json.loads(request.post_data))

    page.on("request", note)
    return bodies


def open_section(page: Page, title: str) -> None:
    """Open a section of the drawer, and the drawer."""
    if not page.locator("#drawer").is_visible():
        page.click("#toggle-drawer")
    section = page.locator("#drawer details", has=page.locator(f"summary:text-is('{title}')"))
    if section.get_attribute("open") is None:
        section.locator("> summary").click()


def refuse(route: Route) -> None:
    """Answer a request as a server that is full."""
    route.fulfill(status=429, json={"error": {"message": "too many requests"}})


def inside(page: Page, selector: str) -> bool:
    """Whether nothing of these elements lies beyond the edges of the screen."""
    width = page.viewport_size["width"] if page.viewport_size else 0
    boxes = [element.bounding_box() for element in page.locator(selector).all()]
    return all(box is None or (box["x"] >= 0 and box["x"] + box["width"] <= width) for box in boxes)


# ---- Files


@pytest.mark.parametrize("screen", SCREENS)
def test_files_become_text_of_the_message(
    open_page: Callable[..., Page], server: Server, tmp_path: Path, screen: str
) -> None:
    page = open_page(screen=screen)
    bodies = note_bodies(page)
    begin_chat(page)
    set_up(page, max_tokens="5")
    text = "def f():\n    return '```'\n"
    notes = tmp_path / "notes.py"
    notes.write_text(text)
    table = tmp_path / "a long name of a table that does not fit a narrow screen at all.csv"
    table.write_text("a,b\n1,2")
    page.set_input_files("#files", [notes, table])
    body = {"model": "small", "prompt": text, "add_special_tokens": False}
    count = httpx.post(f"{server.url}/tokenize", json=body, timeout=300).json()["count"]
    expect(page.locator(".attachment").first).to_contain_text(f"notes.py{count} tokens")
    expect(page.locator(".attachment")).to_have_count(2)
    assert inside(page, ".attachment")
    page.fill("#prompt", "Explain this.")
    page.click("#generate")
    expect(page.locator("#status")).to_have_text(DONE)
    expected = (
        f"Explain this.\n\nnotes.py:\n````python\n{text}````\n\n"
        f"{table.name}:\n```csv\na,b\n1,2\n```"
    )
    assert bodies[0]["messages"] == [{"role": "user", "content": expected}]
    expect(page.locator(".attachment")).to_have_count(0)
    page.set_input_files("#files", [notes])
    expect(page.locator(".attachment")).to_have_count(1)
    page.get_by_role("button", name="Remove notes.py").click()
    expect(page.locator(".attachment")).to_have_count(0)


def test_files_can_be_dropped_and_sent_alone(page: Page) -> None:
    bodies = note_bodies(page)
    begin_chat(page)
    set_up(page, max_tokens="5")
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File(["hello"], "hello.txt"));
          document.querySelector("#prompt").dispatchEvent(
            new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
    )
    expect(page.locator(".attachment")).to_contain_text("hello.txt")
    page.click("#generate")
    expect(page.locator("#status")).to_have_text(DONE)
    assert bodies[0]["messages"][0]["content"] == "hello.txt:\n```\nhello\n```"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("image.png", b"\x89PNG", "only .txt .md .py .json .csv files become text"),
        ("latin.txt", b"caf\xe9", "latin.txt: it is not text in UTF-8"),
        ("null.md", b"a\0b", "it has NUL bytes"),
        ("empty.json", b" \n", "it is empty"),
        ("large.csv", b"1,2\n" * 70_000, "280 kB are more than the 256 kB of a file"),
    ],
)
def test_a_file_that_is_not_text_is_refused(
    page: Page, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    page.set_input_files("#files", [file])
    expect(page.locator("#status")).to_contain_text(message)
    expect(page.locator("#status")).to_have_class(re.compile("error"))
    expect(page.locator(".attachment")).to_have_count(0)


# ---- Tools and JSON


@pytest.mark.parametrize("screen", SCREENS)
def test_a_call_is_shown_and_answered_by_hand(open_page: Callable[..., Page], screen: str) -> None:
    page = open_page(screen=screen)
    bodies = note_bodies(page)
    begin_chat(page)
    open_section(page, "Tools")
    page.fill("#tools", TOOLS)
    expect(page.locator("#tools-state")).to_have_text("The model is told of weather, time.")
    page.select_option("#tool-choice", "required")
    page.check("#one-call")
    page.click("#close-drawer")
    set_up(page, max_tokens="400", temperature="0")
    page.fill("#prompt", "How is it in Oslo?")
    page.click("#generate")
    call = page.locator(".call").first
    expect(page.locator("#status")).to_have_text("The model called a tool.")
    expect(call).to_contain_text(re.compile("Call of (weather|time)"))
    expect(call.locator("pre")).to_contain_text('"city": "Oslo"')
    assert inside(page, ".call")
    page.fill(".call textarea", "Sunny")
    open_section(page, "Tools")
    page.select_option("#tool-choice", "auto")
    page.click("#close-drawer")
    set_up(page, max_tokens="5")
    expect(page.locator(".call textarea")).to_have_value("Sunny")
    page.route("**/v1/chat/completions", refuse)
    page.click(".send-results")
    expect(page.locator("#status")).to_have_text("too many requests")
    expect(page.locator(".message")).to_have_count(2)  # a refused result leaves nothing behind
    expect(page.locator(".call textarea")).to_have_value("Sunny")
    page.unroute("**/v1/chat/completions")
    bodies.pop()
    page.click(".send-results")
    expect(page.locator("#status")).to_have_text(DONE)
    messages = bodies[1]["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "tool"]
    made = messages[1]["tool_calls"]
    assert messages[2] == {"role": "tool", "content": "Sunny", "tool_call_id": made[0]["id"]}
    assert json.loads(made[0]["function"]["arguments"]) == {"city": "Oslo"}
    assert bodies[0]["tool_choice"] == "required"
    assert bodies[0]["parallel_tool_calls"] is False
    assert "tool_choice" not in bodies[1]
    assert [tool["function"]["name"] for tool in bodies[1]["tools"]] == ["weather", "time"]
    page.reload()
    expect(page.locator(".call").first).to_contain_text(re.compile("Call of (weather|time)"))
    expect(page.locator(".call textarea")).to_have_count(0)
    expect(page.locator(".message.tool")).to_have_count(1)


def test_a_call_that_was_cut_is_left_out_of_the_conversation(page: Page) -> None:
    begin_chat(page)
    open_section(page, "Tools")
    page.fill("#tools", TOOLS)
    page.select_option("#tool-choice", "required")
    page.click("#close-drawer")
    set_up(page, max_tokens="54", temperature="0")
    page.fill("#prompt", "How is it in Oslo?")
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("A call of a tool was cut")
    stored = page.evaluate("localStorage['ingot.conversations']")
    assert "tool_calls" not in stored


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "The tools are not JSON"),
        ("[1]", "Tool 1 is not a JSON object."),
        ('[{"name": "a b"}]', "Tool 1 needs a name"),
        ('[{"name": "a", "parameters": 1}]', "Tool 1 (a): its parameters are not a JSON schema."),
        ('[{"name": "a"}, {"name": "a"}]', "Two tools are called a."),
    ],
)
def test_tools_that_are_wrong_are_named(page: Page, text: str, message: str) -> None:
    begin_chat(page)
    open_section(page, "Tools")
    page.fill("#tools", text)
    expect(page.locator("#tools-state")).to_contain_text(message)
    page.click("#close-drawer")
    page.fill("#prompt", "one")
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text(message)
    expect(page.locator(".message")).to_have_count(0)
    expect(page.locator("#prompt")).to_have_value("one")


def test_an_answer_in_json_is_shown_as_json(page: Page) -> None:
    begin_chat(page)
    set_up(page, temperature="0", schema=json.dumps(CITY))
    generate(page, 100, "Where?")
    expect(page.locator(".json")).to_be_visible()
    assert json.loads(page.locator(".json").inner_text()) == {"city": "Oslo"}
    page.reload()
    expect(page.locator(".json")).to_have_text('{\n  "city": "Oslo"\n}', use_inner_text=True)
    set_up(page, max_tokens="3")
    page.fill("#prompt", "Where?")
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("it is not complete")


# ---- Models


@pytest.mark.parametrize("screen", SCREENS)
def test_models_are_loaded_used_beside_each_other_and_unloaded(
    open_page: Callable[..., Page], changeable: Server, screen: str
) -> None:
    page = open_page(screen=screen, url=changeable.url)
    open_section(page, "Models")
    served = page.get_by_role("list", name="Served models").get_by_role("listitem")
    expect(served).to_have_count(1)
    expect(served).to_contain_text("continues text")
    page.get_by_role("button", name="Load second.ingot").click()
    expect(served).to_have_count(2)
    page.get_by_role("button", name="Use second").click()
    assert inside(page, "#served-models *")
    page.click("#close-drawer")
    expect(page.locator("#model")).to_have_value("second")
    assert generate(page, 5)
    expect(page.locator(".assistant .who")).to_have_text("second")
    open_section(page, "Models")
    page.get_by_role("button", name="Unload second").click()
    expect(served).to_have_count(1)
    expect(page.locator("#model-name")).to_have_text("small")
    models = httpx.get(f"{changeable.url}/v1/models").json()["data"]
    assert [model["id"] for model in models] == ["small"]


def test_a_server_without_a_folder_says_how_models_are_loaded(page: Page) -> None:
    open_section(page, "Models")
    expect(page.locator("#drawer")).to_contain_text("--set server.ingots_folder=FOLDER")


def test_an_answer_says_what_it_cost(open_page: Callable[..., Page], changeable: Server) -> None:
    page = open_page(url=changeable.url)
    generate(page, 5)
    expect(page.locator(".figures-line summary")).to_contain_text(re.compile(r"[\d.e-]+ EUR"))
    page.reload()
    expect(page.locator(".figures-line summary")).to_contain_text(" EUR")


def test_the_card_says_what_the_model_is(page: Page, model: Model) -> None:
    open_section(page, "Model")
    card = page.locator("#drawer")
    expect(card).to_contain_text("has not seen them: it continues text")
    expect(card).to_contain_text("614 k tokens, 1,200 steps")
    expect(page.locator("#digest")).to_have_text(model.digest)
    page.click("#verify")
    page.click("#close-drawer")
    expect(page.locator("#status")).to_contain_text("Verified: all")
    assert answer(page).count() == 0
