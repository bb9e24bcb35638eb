"""The page as people use it: a real browser, a real server, a real (small) model."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from ingot.artifact import Ingot, Provenance, freeze
from ingot.inference import Engine, EngineLoop
from ingot.inference.executors.torch import TorchExecutor
from ingot.model import ModelConfig, Tokenizer
from ingot.server import Server, ServerConfig

CHROMIUM = shutil.which("chromium")
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"
)


@pytest.fixture(scope="module")
def ingot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingot]:
    tokenizer = Tokenizer.train(["def main():\n    return 0\n" * 8], 280)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in config.tensor_shapes().items()
    }
    never_end(weights, tokenizer.eos_id)
    out: Path = tmp_path_factory.mktemp("browser") / "small.ingot"
    with freeze(weights, config, tokenizer, out, provenance=Provenance()) as ingot:
        yield ingot


def never_end(weights: dict[str, NDArray[np.float32]], eos_id: int) -> None:
    """Make the end of text unlikely after anything, so that answers are as long as allowed.

    The first number of every hidden state becomes a positive constant, which
    only the end of text looks at.
    """
    weights["model.embed_tokens.weight"][:, 0] = 10
    for name, weight in weights.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight[0] = 0
    weights["model.norm.weight"][0] = 1
    weights["lm_head.weight"][:, 0] = 0
    weights["lm_head.weight"][eos_id, 0] = -100


@pytest.fixture(scope="module")
def engine(ingot: Ingot) -> Iterator[EngineLoop]:
    engine = EngineLoop(Engine(TorchExecutor(ingot), ingot.tokenizer))
    yield engine
    engine.close(5)


@pytest.fixture(scope="module")
def server(ingot: Ingot, engine: EngineLoop) -> Iterator[Server]:
    with Server(ingot, engine, ServerConfig(port=0)) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=SCREENS)
def page(browser: Browser, server: Server, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page on one kind of screen; whatever the console reports fails the test."""
    width, height = SCREENS[request.param]
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.set_default_timeout(20_000)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(server.url)
    expect(page.locator("#model")).to_have_text("small")
    yield page
    context.close()
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []


def test_a_prompt_is_answered_and_measured(page: Page, ingot: Ingot) -> None:
    page.fill("#max-tokens", "30")
    page.click("#generate")
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#status")).to_have_text(re.compile("Ended at|ended its text"))
    expect(page.locator("#answer")).to_contain_text("def main():")
    assert len(page.inner_text("#answer")) > len("def main():")
    expect(page.locator("#first-token")).to_have_text(re.compile(r"\d ms|\d s"))
    expect(page.locator("#speed")).to_have_text(re.compile(r"\d"))
    expect(page.locator("#tokens")).to_have_text(re.compile(r"\d"))
    expect(page.locator("#digest")).to_have_text(ingot.digest)


def test_greedy_answers_are_the_same_twice(page: Page) -> None:
    page.fill("#max-tokens", "20")
    page.evaluate("document.getElementById('temperature').value = 0")
    answers = []
    for _ in range(2):
        page.click("#generate")
        expect(page.locator("#status")).not_to_have_text("Writing…")
        answers.append(page.inner_text("#answer"))
    assert answers[0] == answers[1]


def test_stop_frees_the_engine_and_keeps_what_was_written(page: Page, engine: EngineLoop) -> None:
    page.fill("#max-tokens", "4000")
    page.click("#generate")
    expect(page.locator("#tokens")).to_have_text(re.compile(r"\d"))
    page.click("#stop")
    expect(page.locator("#status")).to_have_text("Stopped.")
    assert len(page.inner_text("#answer")) > len("def main():")
    for _ in range(1000):  # 10 s at most
        if engine.stats().running == 0:
            return
        page.wait_for_timeout(10)
    pytest.fail("the engine goes on after the reader has stopped it")


def test_the_keyboard_is_enough(page: Page) -> None:
    page.fill("#max-tokens", "4000")
    page.locator("#prompt").press("Control+Enter")
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text("Stopped.")
    page.focus("#generate")
    page.keyboard.press("Enter")
    expect(page.locator("#stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#generate")).to_be_focused()


def test_a_refusal_is_shown_in_its_own_words(page: Page) -> None:
    page.fill("#prompt", "x y " * 4000)
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("the model's context holds 4096")


def test_a_server_that_is_gone_is_reported_and_can_come_back(page: Page) -> None:
    page.fill("#max-tokens", "5")
    page.context.set_offline(True)
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("does not answer")
    page.context.set_offline(False)
    page.click("#generate")
    expect(page.locator("#status")).to_have_text(re.compile("Ended at|ended its text"))


def test_what_the_model_writes_never_becomes_html(page: Page) -> None:
    chunk = '{"system_fingerprint":"x","choices":[{"text":%s,"finish_reason":"stop"}]}'
    text = '"' + HOSTILE.replace('"', '\\"') + '"'

    def answer(route: Route) -> None:
        body = f"data: {chunk % text}\n\ndata: [DONE]\n\n"
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    page.route("**/v1/completions", answer)
    page.fill("#prompt", HOSTILE)
    page.click("#generate")
    expect(page.locator("#answer")).to_have_text(HOSTILE * 2)
    assert page.locator("#answer img, #answer script").count() == 0
    assert page.title() == "Ingot"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_can_be_read(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate(CONTRAST) >= 4.5


# The lowest contrast of any visible text with what is behind it, by WCAG's formula.
CONTRAST = """() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (node) => {
    const color = parse(getComputedStyle(node).backgroundColor);
    return color.length === 4 && color[3] === 0 ? behind(node.parentElement) : color;
  };
  const texts = [...document.querySelectorAll("body *")].filter(
    (node) => node.innerText && node.children.length === 0 && !node.disabled,
  );
  return Math.min(...texts.map((node) => {
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
}"""
