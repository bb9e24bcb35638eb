"""Fixtures of the page's tests: a real browser, a real server and a small model."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from ingot.api import inference
from ingot.api.inference import Model
from ingot.artifact import Provenance, freeze
from ingot.inference import Objective
from ingot.lesson.experiments.engine_load import LoadTiming
from ingot.lesson.experiments.full_size import InferenceTrace, TokenPrediction, UpdateTrace
from ingot.lesson.experiments.guardrails import GuardrailResult
from ingot.lesson.experiments.phases import Phases, Speed
from ingot.lesson.experiments.switches import Load, Switches, SwitchResult
from ingot.lesson.report.record import LargeModelCost, Machine, Record, Training
from ingot.lesson_content import read_content
from ingot.model import Tokenizer
from ingot.server import Server, ServerConfig
from tests.random_model import random_weights, small_config

CHROMIUM = shutil.which("chromium")
WAIT_MS = 120_000  # every wait is for a condition: a busy machine is slow, not wrong
SCREENS = {"desktop": (1280, 900), "tablet": (768, 1024), "phone": (320, 640)}

if CHROMIUM is None:
    collect_ignore_glob = ["test_*.py"]

expect.set_options(timeout=WAIT_MS)


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


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the server looks for the last lesson's record; empty at first."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    tokenizer = Tokenizer.train(["def main():\n    return 0\n" * 8], 280)
    config = small_config(
        vocab_size=tokenizer.vocab_size, max_position_embeddings=4096, tie_word_embeddings=False
    )
    weights = random_weights(config)
    never_end(weights, tokenizer.eos_id)
    out = tmp_path_factory.mktemp("browser") / "small.ingot"
    origin = Provenance(
        steps=1200,
        tokens=614_400,
        wall_seconds=42.0,
        validation_loss=2.25,
        training_curve=((1, 5.0), (600, 3.0), (1200, 2.5)),
        validation_curve=((600, 3.1), (1200, 2.25)),
        recipe={"run": {"seed": 0}},
    )
    freeze(weights, config, tokenizer, out, provenance=origin).close()
    # PyTorch writes slowly enough that an answer can be stopped half-way.
    with inference.load(out, executor="torch") as model:
        yield model


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Record:
    """What a lesson wrote down, in round figures; the server finds it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    speeds = (Speed(1, 10.0, 12_800.0), Speed(4, 20.0, 25_600.0))
    eight = Load(8, Objective(ttft_s=0.5, itl_s=0.025))
    hostile = "<b>x</b>"
    record = Record(
        machine=Machine("a machine", 2, 1e11),
        training=Training(120, 61_440, 6.0, 3.5, 2.9),
        update=UpdateTrace(
            hostile,
            (TokenPrediction("a", hostile, 0.25, 0.5),),
            3.0,
            2.5,
            "a" * 64,
            "b" * 64,
            9,
            10,
        ),
        asked=InferenceTrace(
            "    def", " main", (("m", 0.5),), 20, "c" * 64, "c" * 64, 36, 36, "read-only"
        ),
        phases=Phases(
            digest="d" * 64,
            parameters=1000,
            context=128,
            training_digests=("a" * 64, "b" * 64),
            inference_digests=("c" * 64, "c" * 64),
            requests=32,
            weight_bytes=4000,
            gradient_bytes=4000,
            optimizer_bytes=8000,
            activation_bytes=1_000_000,
            served_bytes=2000,
            kv_bytes=384,
            training_flops=6e6,
            inference_flops=2_000_000,
            training_speeds=speeds,
            inference_speeds=speeds,
            training_seconds=6.0,
            training_tokens=61_440,
            answer_tokens=100,
            answer_seconds=0.005,
        ),
        large_model=LargeModelCost("a large model", 200_000.0, 0.15),
        switches=(
            SwitchResult(Switches(), eight, LoadTiming(8, 96, 4.0, 2.0, 0.3, 0)),
            SwitchResult(Switches(caching=True), eight, LoadTiming(8, 96, 0.5, 0.1, 0.01, 4)),
        ),
        loads=(SwitchResult(Switches(caching=True), eight, LoadTiming(8, 96, 0.5, 0.1, 0.01, 2)),),
        price_per_hour=0.36,
        switches_parameters=25_000_000,
        guardrails=(GuardrailResult("a grammar", 8, 8, 8, " yes"),),
        evidence={question.id: f"as {question.id} showed" for question in read_content().questions},
        others={"training": 0.5, "phases": 0.01, "users": None, "switches": 0.01},
    )
    record.save()
    return record


@pytest.fixture(scope="session")
def server(model: Model) -> Iterator[Server]:
    with Server(model.ingot, model.loop, ServerConfig(port=0)) as server:
        yield server


@pytest.fixture(scope="module")  # its event loop must not outlast these tests
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def wait_until() -> Callable[[Page, Callable[[], bool]], None]:
    """Wait until a condition holds that ``expect`` cannot state, while the page works."""

    def wait(page: Page, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_MS / 1000
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come to hold"
            page.wait_for_timeout(20)

    return wait


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Open the page on one kind of screen; whatever the console reports fails the test."""
    faults: list[str] = []
    contexts: list[BrowserContext] = []

    def open_it(
        view: str = "chat",
        *,
        screen: str = "desktop",
        scheme: str = "light",
        url: str = server.url,
    ) -> Page:
        width, height = SCREENS[screen]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]  # of two words
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{url}/#{view}")
        expect(page.locator("#model-name")).to_have_text("small")
        if view == "chat":
            expect(page.locator("#generate")).to_be_enabled()
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """The view Chat on a desktop."""
    return open_page()
