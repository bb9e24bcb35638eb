"""The other rooms, and what holds for all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, Route, expect

from ingot.api import inference
from ingot.api.inference import Model, native_core_is_built
from ingot.lesson.report.record import Record
from ingot.lesson_content import read_content
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key

ROOMS = ("play", "train", "serve", "phases", "learn")
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


@pytest.mark.parametrize("screen", ["desktop", "phone"])
def test_every_room_fits_and_is_accessible(open_page: Callable[..., Page], screen: str) -> None:
    page = open_page(screen=screen, scheme="dark" if screen == "phone" else "light")
    page.click("#generate")
    for room in ROOMS:
        page.click(f"nav a[href='#{room}']")
        shown = page.locator(f"#room-{room}")
        expect(shown).to_be_visible()
        expect(shown.locator("h2, textarea").first).to_be_visible()
        expect(page.locator(f"nav a[href='#{room}']")).to_have_attribute("aria-current", "page")
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), room
        found = Axe().run(page).response["violations"]
        bad = [
            (each["id"], each["impact"], [node["html"][:120] for node in each["nodes"]][:3])
            for each in found
            if each["impact"] in ("serious", "critical", "moderate")
        ]
        assert bad == [], room


@pytest.fixture
def changing(model: Model) -> Iterator[Server]:
    """A server of its own, for what changes what is served."""
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
    learn = page.locator("#room-learn")
    expect(learn).to_contain_text(re.compile(r"0\.25 . 2 = 0\.5"))
    page.click("text=Write the weight")
    expect(page.locator(".refusal")).to_contain_text("TypeError")
    expect(page.locator(".refusal")).to_contain_text("still 0.25")
    page.click("text=Predict the next token")
    expect(learn).to_contain_text("memory are what was sealed")
    learn.get_by_text("Let 8 users ask").click()
    switches = ["Caching", *["Quantization"] * native_core_is_built(), "Batching"]
    for switch in switches:
        learn.get_by_label(switch).check()
    learn.locator("button:has-text('Let 8 users ask'):enabled").click()
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
    learn = page.locator("#room-learn")
    expect(learn).to_contain_text("9 of 10 weights changed, digest aaaaaaaa became bbbbbbbb")
    expect(learn.locator("pre")).to_have_text("<b>x</b>")
    expect(learn).to_contain_text("50.00%")
    expect(learn).to_contain_text("a large model would keep it busy for 200,000 years")
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
    expect(page.locator("#room-phases")).to_contain_text("Measured 20")
    expect(page.locator("#room-phases")).to_contain_text("unchanged (cccccccc) by 32 answers")


def test_without_a_lesson_the_page_says_how_to_run_it(open_page: Callable[..., Page]) -> None:
    page = open_page("learn")
    expect(page.locator("#room-learn .notice")).to_contain_text("run: ingot lesson")


def test_a_run_is_drawn_from_its_record(open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = open_page("train")
    expect(page.locator("#room-train")).to_contain_text("1,200")
    steps = [
        {"event": "stepped", "step": step, "loss": 5 - step / 50_000, "tokens_per_second": 9e3,
         "gradient_norm": 1.5, "learning_rate": 1.0}
        for step in range(1, 100_001)
    ]  # fmt: skip
    sampled = {"event": "sampled", "step": 7, "prompt": HOSTILE, "text": HOSTILE}
    lines = [*map(json.dumps, [*steps, sampled]), "{broken"]
    record = tmp_path / "metrics.jsonl"
    record.write_text("\n".join(lines))
    page.set_input_files("#run-files", record)
    status = page.locator("#room-train .status")
    expect(status).to_have_text("100,000 updates read, 1 broken lines left out.")
    expect(page.locator("#room-train .plot")).to_have_count(4)
    points = page.locator("#room-train polyline").first.get_attribute("points") or ""
    assert 500 < len(points.split()) < 1300  # a few for each pixel column, not one for each step
    expect(page.locator(".samples pre")).to_have_text(HOSTILE * 2)
    assert page.locator("main img").count() == 0
    page.get_by_label("Zoom into Training loss").click()
    plotly = page.frame_locator("dialog iframe")
    expect(plotly.locator(".scatterlayer path.js-line")).to_have_count(1)
    expect(plotly.locator(".gtitle")).to_have_text("Training loss, nats per token")
    inside = next(frame for frame in page.frames if frame.name == "" and frame.parent_frame)
    assert inside.evaluate("window.origin") == "null"
    page.get_by_text("Close").click()
    expect(page.locator("dialog.explore")).to_have_count(0)
    record.write_text("nothing of the kind")
    page.set_input_files("#run-files", record)
    expect(status).to_contain_text("holds no updates of a run")


def test_a_run_can_be_watched_as_it_goes(open_page: Callable[..., Page]) -> None:
    page = open_page("train")
    # The file chooser is the browser's own; behind it stands a file that grows.
    page.evaluate("""() => {
      const line = (step) => JSON.stringify({ event: "stepped", step, loss: 9 - step }) + "\\n";
      window.text = line(1) + line(2) + line(3).slice(0, 10);
      const getFile = async () => new File([window.text], "metrics.jsonl");
      window.showOpenFilePicker = async () => [{ name: "metrics.jsonl", getFile }];
      window.grow = () => { window.text += line(3).slice(10) + line(4); };
    }""")
    page.click("text=Watch a run as it goes")
    status = page.locator("#room-train .status")
    expect(status).to_have_text("Watching: update 2, loss 7.000.")
    page.evaluate("() => window.grow()")
    expect(status).to_have_text("Watching: update 4, loss 5.000.")
    points = page.locator("#room-train polyline").first.get_attribute("points") or ""
    assert len(points.split()) == 4


def test_the_way_past_the_head_stays_in_the_room(open_page: Callable[..., Page]) -> None:
    page = open_page("learn")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("#room-learn")).to_be_visible()


def test_one_of_several_models_is_chosen(browser: Browser, model: Model) -> None:
    further = [("twin", model.ingot, model.loop)]
    with Server(model.ingot, model.loop, ServerConfig(port=0), further=further) as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        page.select_option("#model", "twin")
        page.check("#side")
        page.select_option("#other-model", "small")
        page.fill("#max-tokens", "4")
        page.click("#generate")
        expect(page.locator(".pair .figures").nth(0)).to_contain_text("twin, ")
        expect(page.locator(".pair .figures").nth(1)).to_contain_text("small, ")
        context.close()


def test_a_request_is_shown_and_ended_in_serve(
    open_page: Callable[..., Page], model: Model
) -> None:
    page = open_page("play")
    page.fill("#max-tokens", "4000")
    page.click("#generate")
    expect(page.locator("#status")).not_to_have_text("")
    other = page.context.new_page()
    other.goto(page.url.split("#")[0] + "#serve")
    room = other.locator("#room-serve")
    running = room.get_by_role("region", name="Requests that are being answered")
    expect(running).to_contain_text("small")
    running.get_by_role("button", name="End request").click()
    expect(room).to_contain_text("No request is being answered.")
    expect(page.locator("#status")).to_contain_text("was cancelled")
    used = room.get_by_role("region", name="What each key has used")
    expect(used).to_contain_text("no key")
    assert model.loop.stats().running == 0


def test_serve_shows_what_the_server_does(open_page: Callable[..., Page], model: Model) -> None:
    page = open_page("serve")
    figures = page.locator("#room-serve .figures")
    expect(figures).to_contain_text("Running")
    model.generate("a", max_tokens=5)
    written = f"{model.loop.stats().generated_tokens:,}"
    expect(figures).to_contain_text(written)
    page.context.set_offline(True)
    expect(page.locator("#room-serve .status")).to_contain_text("does not answer")
    page.context.set_offline(False)
    expect(page.locator("#room-serve .status")).to_have_text("")


def test_both_phases_are_measured(open_page: Callable[..., Page]) -> None:
    page = open_page("phases")
    room = page.locator("#room-phases")
    expect(room).to_contain_text("614,400 read, once")
    page.fill("#proof-count", "20")
    page.click("text=Ask and compare")
    expect(room).to_contain_text("after 20 answers in")
    expect(room).to_contain_text("unchanged")
    page.click("text=Measure")
    expect(room).to_contain_text("16 users at once")


def test_an_ingot_that_was_exchanged_is_noticed(page: Page) -> None:
    def fulfil(route: Route) -> None:
        event = {
            "system_fingerprint": "f" * 64,
            "choices": [{"text": "x", "finish_reason": "stop"}],
        }
        body = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n"
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    page.route("**/v1/completions", fulfil)
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
    page.fill("#max-tokens", "5")
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("Ended at")
    assert key not in json.dumps(page.evaluate("({...localStorage})"))
    context.close()


def test_the_page_is_small(open_page: Callable[..., Page]) -> None:
    page = open_page()
    for room in ROOMS:
        page.click(f"nav a[href='#{room}']")
        expect(page.locator(f"#room-{room} h2, #room-{room} textarea").first).to_be_visible()
    # What is asked for again and again, such as /metrics, counts once.
    transferred = page.evaluate("""() => {
      const entries = performance.getEntriesByType("resource");
      const sizes = new Map(entries.map((each) => [each.name, each.encodedBodySize]));
      return [...sizes.values()].reduce((sum, size) => sum + size, 0);
    }""")
    assert 20_000 < transferred <= 150_000
