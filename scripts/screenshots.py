"""Take the README's pictures of the page: ``python scripts/screenshots.py demo.ingot``.

Drives Debian's Chromium through every view of a server on that ingot and writes
``docs/screenshots/ROOM.png``.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ingot.api import inference
from ingot.errors import IngotError, UsageError
from ingot.server import ServerConfig

FOLDER = Path("docs/screenshots")
DESKTOP, PHONE = (1200, 780), (390, 780)
_COLORS = 192
_WAIT_MS = 120_000  # for a condition, on a busy machine


def chat(page: Page) -> None:
    """Let the model answer its first suggestion."""
    expect(page.locator("#generate")).to_be_enabled()
    page.click("#toggle-drawer")
    page.locator("#temperature").fill("0.5")
    page.fill("#max-tokens", "160")
    page.click("#close-drawer")
    page.locator(".suggestion").first.click()
    expect(page.locator("#status")).to_have_text(re.compile("Stopped at|ended its text"))


def train(page: Page) -> None:
    """Show the model's provenance, and its run's charts if they lie beside the ingot."""
    metrics = Path(sys.argv[1]).with_suffix("") / "metrics.jsonl"
    if metrics.is_file():
        page.set_input_files("#run-files", metrics)
        expect(page.locator("#view-train .status")).to_contain_text("updates read")


def serve(page: Page) -> None:
    """Send requests, and look while they run."""
    page.get_by_role("button", name="Send requests").click()
    page.wait_for_timeout(3000)  # a few readings
    expect(page.locator(".batch-picture")).to_contain_text(re.compile("[5-8] running"))


def phases(page: Page) -> None:
    """Show updates of a copy and a batch of eight users."""
    view = page.locator("#view-phases")
    page.click("#phase-play")
    expect(view.locator(".training")).to_contain_text("Done: 6 updates")
    expect(view.locator(".inference")).to_contain_text("No weight changed")
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")


def learn(page: Page) -> None:
    """Open the lesson's first screen with an experiment."""
    page.get_by_role("button", name="Next", exact=True).first.click()
    page.evaluate("window.scrollTo(0, 0)")


VIEWS: dict[str, Callable[[Page], None]] = {
    "chat": chat,
    "train": train,
    "serve": serve,
    "phases": phases,
    "learn": learn,
}


def main() -> None:
    """Take every picture."""
    if len(sys.argv) != 2:
        raise UsageError("takes one ingot", where="screenshots", fix="make one with: make demo")
    chromium = shutil.which("chromium")
    if chromium is None:
        raise UsageError("chromium is not installed", fix="sudo apt-get install chromium")
    FOLDER.mkdir(exist_ok=True)
    expect.set_options(timeout=_WAIT_MS)
    with (
        inference.load(sys.argv[1]) as model,
        inference.serve(model, ServerConfig(port=0)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, prepare in VIEWS.items():
            take(browser, f"{server.url}/#{name}", FOLDER / f"{name}.png", prepare)
        url = f"{server.url}/#chat"
        take(browser, url, FOLDER / "chat-dark.png", chat, screen=PHONE, scheme="dark")


def take(
    browser: Browser,
    url: str,
    path: Path,
    prepare: Callable[[Page], None],
    *,
    screen: tuple[int, int] = DESKTOP,
    scheme: str = "light",
) -> None:
    """Open one view, prepare it, and write a picture of it."""
    context = browser.new_context(
        viewport={"width": screen[0], "height": screen[1]},
        color_scheme=scheme,  # type: ignore[arg-type]  # of two words
    )
    page = context.new_page()
    page.set_default_timeout(_WAIT_MS)
    page.goto(url)
    expect(page.locator("#model-name")).not_to_be_empty()
    expect(page.locator(".view:visible")).to_have_count(1)
    prepare(page)
    page.wait_for_timeout(300)  # transitions end
    with Image.open(io.BytesIO(page.screenshot())) as image:
        image.convert("RGB").quantize(_COLORS).save(path, optimize=True)
    context.close()
    sys.stderr.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    try:
        main()
    except IngotError as error:
        sys.exit(f"error: {error}")
