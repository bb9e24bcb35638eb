"""A real run, watched and steered from a real browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.driving import accessibility_faults

SETTINGS = (
    *("model.hidden_size=32", "model.intermediate_size=64", "model.num_hidden_layers=1"),
    *("model.num_attention_heads=1", "model.num_key_value_heads=1", "model.head_dim=32"),
    *("batch.context=32", "batch.sequences=4", "corpus.vocab_size=300", "run.steps=1000000"),
    *("run.measure_peak=false", "cost.watts=100", "run.evaluations=1000"),
)


@pytest.fixture
def run(texts: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """A run that would take hours: process, address of its page, folder."""
    folder = tmp_path / "mine"
    options = [part for setting in SETTINGS for part in ("--set", setting)]
    command = [sys.executable, "-m", "ingot", "train", str(texts), "--out", str(folder)]
    process = subprocess.Popen(
        [*command, "--watch", "0", *options], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    line = next(line for line in process.stderr if "watch it at" in line)
    yield process, line.split()[-1], folder
    process.kill()
    process.communicate(timeout=300)


def stands_still(page: Page, file: Path) -> bool:
    """Return whether a file does not grow for a second, in which a run makes many updates."""
    size = file.stat().st_size
    page.wait_for_timeout(1000)
    return file.stat().st_size == size


def test_a_run_is_watched_and_steered(
    browser: Browser,
    run: tuple[subprocess.Popen[str], str, Path],
    wait_until: Callable[..., None],
) -> None:
    process, address, folder = run
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page: Page = context.new_page()
    page.set_default_timeout(300_000)
    metrics = folder / "metrics.jsonl"
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address)
    expect(page.locator("#view-train h2")).to_have_text("mine")
    expect(page.locator("nav a:visible")).to_have_count(1)
    expect(page.locator("#view-train .chart canvas").first).to_be_visible(timeout=300_000)
    expect(page.get_by_text("Energy")).to_be_visible()

    page.get_by_role("button", name="Checkpoint now").click()
    expect(page.get_by_text("Writes a checkpoint")).to_be_visible()
    wait_until(page, lambda: any((folder / "checkpoints").glob("step-*")))
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(page.get_by_text("Paused: update")).to_be_visible()
    # The update that was under way is still written; after it nothing is.
    wait_until(page, lambda: stands_still(page, metrics))
    size = metrics.stat().st_size

    page.get_by_role("button", name="Seal the latest checkpoint").click()
    expect(page.get_by_text("Serve it with: ingot serve")).to_be_visible()
    assert (folder / "latest.ingot" / "ingot.json").is_file()
    page.get_by_role("button", name="Seal and serve it").click()
    url = page.locator("#view-train a[href^='http://127.0.0.1:']").get_attribute("href")
    models = httpx.get(f"{url}/v1/models", timeout=300).json()["data"]
    assert [model["id"] for model in models] == ["latest"]
    expect(page.get_by_text(models[0]["digest"][:12])).to_be_visible()
    assert metrics.stat().st_size == size
    assert accessibility_faults(page) == []

    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("Training: update")).to_be_visible()
    wait_until(page, lambda: metrics.stat().st_size > size)
    page.get_by_role("button", name="Stop").click()
    assert process.wait(300) == 130
    with pytest.raises(httpx.ConnectError):  # the served ingot ends with the run
        httpx.get(f"{url}/health")
    expect(page.get_by_text("The run has ended or was stopped")).to_be_visible(timeout=300_000)
    assert faults == []
    context.close()
