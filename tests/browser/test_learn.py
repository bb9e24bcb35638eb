"""The lesson in the page: one screen after another, at three sizes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from ingot.api import inference
from ingot.api.executors import native_core_is_built
from ingot.api.inference import Model
from ingot.lesson.report.record import Record
from ingot.lesson_content import Question, read_content, without_marks
from ingot.server import Server, ServerConfig
from tests.browser.driving import accessibility_faults

CONTENT = read_content()
TIMES = "\N{MULTIPLICATION SIGN}"
WRONG = "serves"
"""The question that the reader gets wrong."""


@pytest.fixture
def changing(model: Model) -> Iterator[Server]:
    """A separate server: quantization adds a model."""
    with inference.serve(model, ServerConfig(port=0)) as server:
        yield server


def screen(page: Page) -> Locator:
    return page.locator("#view-learn .screen")


def go_to(page: Page, title: str) -> None:
    """Choose a screen in the contents."""
    contents = page.locator("#view-learn .contents")
    if contents.get_attribute("open") is None:
        contents.locator("summary").first.click()
    contents.get_by_role("button", name=title).click()
    expect(screen(page).get_by_role("heading", level=2)).to_have_text(title)


def title_of(section: str) -> str:
    return CONTENT.section(section).title


def answer(page: Page, question: Question, choice: str) -> None:
    group = screen(page).get_by_role("group", name=question.ask)
    group.get_by_label(choice, exact=True).check()
    group.get_by_role("button", name="Answer, then measure").click()


def check_screen(page: Page, *, accessible: bool) -> None:
    """Nothing is off the screen, and the screen can be read by assistive technology."""
    name = screen(page).get_by_role("heading", level=2).inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
    cut = "all => all.filter((each) => each.scrollWidth > each.clientWidth).length"
    assert screen(page).locator(".scroll:visible").evaluate_all(cut) == 0, name
    if accessible:
        assert accessibility_faults(page) == [], name


@pytest.mark.parametrize(
    ("size", "scheme"), [("phone", "dark"), ("tablet", "light"), ("desktop", "light")]
)
def test_the_lesson_is_read_to_its_end(
    open_page: Callable[..., Page], record: Record, size: str, scheme: str
) -> None:
    page = open_page("learn", screen=size, scheme=scheme)
    for number, section in enumerate([*CONTENT.sections[:-1], None, CONTENT.sections[-1]], 1):
        shown = screen(page)
        title = section.title if section else CONTENT.score.title
        expect(shown.get_by_role("heading", level=2)).to_have_text(title)
        expect(page.locator(".lesson-progress")).to_contain_text(f"{number} of 12")
        if section:
            expect(shown).to_contain_text(without_marks(section.text[-1]))
        if section and section.question:
            question = CONTENT.question(section.question)
            expect(shown.locator(".after, .experiment")).to_have_count(0)  # not before the answer
            check_screen(page, accessible=False)
            wrong = next(choice for choice in question.choices if choice != question.answer)
            answer(page, question, wrong if question.id == WRONG else question.answer)
            expect(shown).to_contain_text("Measured now: ")
            expect(shown).to_contain_text(f"In the last ingot lesson: as {question.id} showed.")
            expect(shown).to_contain_text(question.why)
            if question.id == WRONG:
                expect(shown).to_contain_text(question.wrong[wrong])
        if section is None:
            expect(shown).to_contain_text("5 of 6 answers right.")
        check_screen(page, accessible=size != "tablet")
        if number < 12:
            page.get_by_role("button", name="Next", exact=True).click()
    expect(page.get_by_role("button", name="Next", exact=True)).to_be_hidden()


def test_the_thread_is_kept_from_the_first_weight_to_the_frozen_ones(
    open_page: Callable[..., Page],
) -> None:
    page = open_page("learn", screen="phone")
    weight = page.get_by_label("One weight", exact=True)
    for value in ("0.8", "1.04", "1.232"):
        expect(weight).to_contain_text(value)
    expect(weight).to_contain_text("it shrinks")
    page.fill("#weight-rate", "1.5")
    expect(weight).to_contain_text("it grows without end")
    expect(screen(page).get_by_text("the learning rate is too high")).to_be_hidden()
    screen(page).get_by_text("If you want to know more").click()
    expect(screen(page).get_by_text("the learning rate is too high")).to_be_visible()
    detail = page.get_by_label("One weight in detail")
    page.fill("#detail-input", "-2")
    page.select_option("#detail-rule", "gradient")
    expect(detail).to_contain_text("multiplies the error by 0.2: it shrinks")
    go_to(page, title_of("frozen-weight"))
    shown = screen(page)
    expect(shown).to_contain_text(f"1.232 {TIMES} 2 = 2.464, 1.536 short of 4")
    expect(shown).to_contain_text(f"0.25 {TIMES} 2 = 0.5, 3.5 short of 4")
    shown.get_by_role("button", name="Train longer").click()
    expect(shown.get_by_role("row", name="60 ≈2 ≈0")).to_be_visible()
    expect(shown).to_contain_text(f"2.00000 {TIMES} 2 = 4.00000, the target")
    expect(shown.locator(".frozen-models li")).to_have_count(3)
    page.fill("#frozen-input", "3")
    expect(shown).to_contain_text(f"1.232 {TIMES} 3 = 3.696")
    go_to(page, title_of("sealed-memory"))
    shown.get_by_role("button", name="Write the weight").click()
    shown.get_by_role("button", name="Write it by force").click()
    expect(shown.locator(".refusal")).to_have_count(2)
    for refusal in shown.locator(".refusal").all():
        expect(refusal).to_contain_text("TypeError")
        expect(refusal).to_contain_text("still 1.232")


def test_one_flipped_bit_gives_another_digest(open_page: Callable[..., Page]) -> None:
    page = open_page("learn", screen="phone")
    go_to(page, title_of("sealed-model"))
    answer(page, CONTENT.question("fixed"), "the parameters")
    bits = screen(page).locator(".bits i")
    expect(bits).to_have_count(64)
    # Sign, exponent and fraction of 1.232 as IEEE 754 stores it.
    stored = "".join(f"{byte:08b}" for byte in struct.pack(">d", 1.232))
    sealed = "each => each.map((bit) => (bit.classList.contains('set') ? '1' : '0')).join('')"
    assert bits.evaluate_all(sealed).startswith(stored[:60])  # its last bits are those of the steps
    expect(screen(page)).to_contain_text("The digests are equal: it is loaded.")
    screen(page).get_by_role("button", name="Flip one bit").click()
    expect(screen(page)).to_contain_text("The digests differ: it is refused.")
    expect(screen(page).locator(".bits .flipped")).to_have_count(1)
    screen(page).get_by_role("button", name="As it was sealed").click()
    expect(screen(page)).to_contain_text("The digests are equal: it is loaded.")


def test_terms_are_explained_where_they_stand_and_in_the_glossary(
    open_page: Callable[..., Page],
) -> None:
    page = open_page("learn")
    go_to(page, title_of("language-model"))
    for name in ("token", "loss", "nat"):
        expect(screen(page).locator(".meaning", has_text=CONTENT.term(name).text)).to_be_visible()
    page.locator(".glossary summary").click()
    assert page.locator(".glossary dt").all_inner_texts() == sorted(
        (term.name for term in CONTENT.terms), key=str.lower
    )
    for term in CONTENT.terms:
        expect(page.locator(".glossary dd", has_text=term.text)).to_be_visible()


def test_the_certificate_names_the_model_and_can_be_copied(
    open_page: Callable[..., Page], model: Model
) -> None:
    page = open_page("learn")
    go_to(page, CONTENT.score.title)
    expect(screen(page)).to_contain_text("6 of 6 questions are still open")
    for section in CONTENT.sections:
        if section.question:
            go_to(page, section.title)
            question = CONTENT.question(section.question)
            answer(page, question, question.answer)
            expect(screen(page)).to_contain_text("Measured now: ")
    page.reload()  # the answers are kept
    go_to(page, CONTENT.score.title)
    expect(screen(page)).to_contain_text("6 of 6 answers right.")
    today = page.evaluate("new Date().toLocaleDateString('sv')")
    line = CONTENT.certificate.format(right=6, total=6, date=today, digest=model.digest)
    expect(screen(page).locator(".certificate")).to_have_text(line)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    screen(page).get_by_role("button", name="Copy the line").click()
    expect(screen(page).get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == line
    page.get_by_role("button", name="Start again").click()
    expect(page.locator(".lesson-progress")).to_contain_text("1 of 12")
    go_to(page, CONTENT.score.title)
    expect(screen(page)).to_contain_text("6 of 6 questions are still open")


def test_experiments_run_on_the_served_model(
    open_page: Callable[..., Page], changing: Server
) -> None:
    page = open_page("learn", url=changing.url)
    go_to(page, title_of("language-model"))
    shown = screen(page)
    shown.get_by_role("button", name="Predict the next token").click()
    expect(shown).to_contain_text("memory match the sealed ones")
    go_to(page, title_of("guardrails"))
    asked: list[dict[str, object]] = []
    page.on("request", lambda each: asked.append(each.post_data_json) if each.post_data else None)
    shown.get_by_role("button", name="Ask 8 times with each").click()
    expect(shown.get_by_role("row", name="no guardrail 0 of 8")).to_be_visible()
    expect(shown.get_by_role("row", name="a grammar 8 of 8 8 of 8")).to_be_visible()
    stop = shown.get_by_role("row", name="a stop list")
    expect(stop.locator("td").nth(1)).to_have_text("8 of 8")
    assert [(each["n"], each["stream"]) for each in asked] == [(8, True)] * 4
    expect(shown.get_by_role("link", name="Two phases")).to_be_visible()  # where to go from here


@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_an_objective_and_a_load_are_set_and_each_switch_is_measured(
    open_page: Callable[..., Page], changing: Server, size: str
) -> None:
    page = open_page("learn", url=changing.url, screen=size)
    asked: list[dict[str, object]] = []
    page.on("request", lambda each: asked.append(each.post_data_json) if each.post_data else None)
    go_to(page, title_of("system-design"))
    answer(page, CONTENT.question("tuned"), "inference")
    shown = screen(page)
    expect(shown).to_contain_text("One user alone has an answer of 12 tokens after")
    first, gap = shown.get_by_label("First token within"), shown.get_by_label("Then a token every")
    for proposed in (first, gap):
        assert float(proposed.input_value()) > 0
    results = shown.locator(".served-loads li")
    serve = shown.get_by_role("button", name="Serve them")
    first.fill("100000")
    gap.fill("50000")
    shown.get_by_label("People at once").fill("12")
    shown.get_by_label("Caching").check()
    shown.get_by_label("Batching").check()
    asked.clear()
    serve.click()
    expect(results).to_have_count(1)
    expect(results.first).to_contain_text("12 of 12 in time")
    expect(results.locator(".kept")).to_have_count(12)
    loads = [each for each in asked if isinstance(each.get("prompt"), list)]
    assert loads
    assert all(len(each["prompt"]) == 12 for each in loads)  # type: ignore[arg-type]
    first.fill("1")
    shown.get_by_label("Caching").uncheck()
    serve.click()
    expect(results).to_have_count(2)
    expect(results.first).to_contain_text("0 of 12 in time")
    expect(results.first).to_contain_text("0/s goodput")
    expect(results.nth(1)).to_contain_text("12 of 12 in time")
    first.fill("100000")
    shown.get_by_label("People at once").fill("2")
    if native_core_is_built():
        shown.get_by_role("button", name="Each switch in turn").click()
        expect(results).to_have_count(6)
        expect(results.first).to_contain_text("caching + quantization + batching")
        expect(results.nth(3)).to_contain_text("all off")
    check_screen(page, accessible=True)


def test_tokens_that_arrive_together_are_counted_each(open_page: Callable[..., Page]) -> None:
    page = open_page("learn")

    def at_once(route: Route) -> None:
        if not route.request.post_data_json.get("stream"):
            route.continue_()
            return
        logprobs = {"tokens": ["x"] * 12, "token_logprobs": [-1.0] * 12}
        event = {"choices": [{"index": 0, "text": "x" * 12, "logprobs": logprobs}]}
        body = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n"
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    page.route("**/v1/completions", at_once)
    go_to(page, title_of("system-design"))
    answer(page, CONTENT.question("tuned"), "inference")
    expect(screen(page)).to_contain_text("One user alone has an answer of 12 tokens after")
    shown = screen(page)
    expect(shown.get_by_label("Then a token every")).to_have_value("2")
    shown.get_by_label("People at once").fill("1")
    for switch in ("Caching", "Batching"):
        shown.get_by_label(switch).check()
    shown.get_by_role("button", name="Serve them").click()
    expect(shown.locator(".served-loads li")).to_contain_text("then one every 0 µs.")


def test_a_measurement_can_be_stopped(open_page: Callable[..., Page]) -> None:
    page = open_page("learn")
    go_to(page, title_of("system-design"))
    answer(page, CONTENT.question("tuned"), "inference")
    shown = screen(page)
    expect(shown).to_contain_text("One user alone has an answer of 12 tokens after")
    shown.get_by_label("People at once").fill("32")
    shown.get_by_role("button", name="Serve them").click()  # without caching, one after another
    shown.get_by_role("button", name="Stop").click()
    expect(shown).to_contain_text("Stopped.")
    expect(shown.get_by_role("button", name="Serve them")).to_be_enabled()
    expect(shown.locator(".served-loads li")).to_have_count(0)


def test_what_the_last_lesson_measured_is_shown_with_the_load(
    open_page: Callable[..., Page], record: Record
) -> None:
    page = open_page("learn")
    shown = screen(page)
    go_to(page, title_of("language-model"))
    expect(shown).to_contain_text("took the loss from 3.50 nats to 2.90")
    expect(shown.locator(".busy")).to_contain_text("other programs took 50% of its processors")
    go_to(page, title_of("one-update"))
    answer(page, CONTENT.question("updates"), "training")
    expect(shown).to_contain_text("9 of 10 weights changed, digest aaaaaaaa became bbbbbbbb")
    expect(shown.locator("pre")).to_have_text("<b>x</b>")
    expect(shown).to_contain_text("50.00%")
    go_to(page, title_of("side-by-side"))
    answer(page, CONTENT.question("needs"), "training")
    expect(shown).to_contain_text("as published would keep it busy for 200,000 years")
    go_to(page, title_of("users"))
    answer(page, CONTENT.question("serves"), "inference")
    expect(shown).to_contain_text(f"{record.phases.break_even:,.0f} answers")
    expect(shown.locator(".experiment .busy")).to_have_count(0)
    go_to(page, title_of("system-design"))
    answer(page, CONTENT.question("tuned"), "inference")
    shown.get_by_text("As ingot lesson recorded it").click()
    expect(shown.get_by_role("row", name="caching 4 of 8 8/s 0.521")).to_be_visible()
    expect(shown.get_by_role("row", name="8 2 of 8 4/s 0.521")).to_be_visible()
    assert page.locator("main b").count() == 0


def test_times_that_lie_far_apart_are_called_so(open_page: Callable[..., Page]) -> None:
    page = open_page("learn")
    page.evaluate(
        """() => {
        const fetched = window.fetch;
        let asked = 0;
        window.fetch = async (...given) => {  // every other answer comes late
          const answer = await fetched(...given);
          if (String(given[0]).includes("completions") && asked++ % 2)
            await new Promise((resolve) => setTimeout(resolve, 3000));
          return answer;
        };
      }"""
    )
    go_to(page, title_of("system-design"))
    answer(page, CONTENT.question("tuned"), "inference")
    expect(screen(page).locator(".question .busy")).to_contain_text("The machine is busy")


def test_without_a_lesson_the_page_says_how_to_run_it(open_page: Callable[..., Page]) -> None:
    page = open_page("learn")
    expect(screen(page).locator(".notice")).to_contain_text("run: ingot lesson")
