"""Benchmark of the web page: bytes sent, time to the first paint, longest main-thread task.

``python -m benchmarks.page [--quick] [--json FILE]``. Drives Chromium against a server whose
engine costs nothing, so that tokens arrive at the rate that is wanted; browser and server share
the machine.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.report import Report, Row, arguments, median_and_spread
from benchmarks.serving import make_model, serving_nothing

MAX_FIRST_VIEW_S = 1.0
MAX_BYTES = 250_000
MAX_STREAMING_TASK_MS = 50.0
MAX_READING_TASK_MS = 100.0
TOKENS_PER_SECOND = 500
LOGGED_STEPS = 100_000

_VIEWS = ("chat", "train", "serve", "phases", "learn")
# Browsers name tasks from 50 ms on (https://www.w3.org/TR/longtasks-1/).
_WATCH = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({ type: "longtask", buffered: true });
"""
_SENT = """() => {
  const entries = performance.getEntriesByType("resource");
  const sizes = new Map(entries.map((each) => [each.name, each.encodedBodySize]));
  const page = performance.getEntriesByType("navigation")[0].encodedBodySize;
  return [...sizes.values()].reduce((sum, size) => sum + size, page);
}"""
_TRACED = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]
_FEWEST_TASKS = 100  # of any page that shows an answer
_BLOCKING_MS = 150
_BLOCK = f"""() => new Promise((done) => setTimeout(() => {{
  const until = performance.now() + {_BLOCKING_MS};
  while (performance.now() < until);
  setTimeout(done, 200);
}}))"""
_PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"


def measure_views(report: Report, browser: Browser, url: str, repeats: int) -> None:
    """Load the page several times without a cache, then visit every view."""
    painted: list[float] = []
    for _ in range(repeats):
        page = _open(browser, url)
        painted.append(page.evaluate(_PAINTED) / 1e3)
        first = page.evaluate(_SENT)
        for view in _VIEWS:
            page.click(f"nav a[href='#{view}']")
            expect(page.locator(f"#view-{view}")).to_be_visible()
            page.wait_for_timeout(300)
        whole = page.evaluate(_SENT)
        page.context.close()
    value, spread = median_and_spread(painted)
    report.add(
        Row(
            "first view, painted after",
            value,
            "s",
            spread,
            bar=f"≤ {MAX_FIRST_VIEW_S:g} s",
            met=value <= MAX_FIRST_VIEW_S,
        )
    )
    report.add(Row("  sent for it", first / 1e3, "kB"))
    report.add(
        Row(
            "every view",
            whole / 1e3,
            "kB",
            bar=f"≤ {MAX_BYTES / 1e3:g} kB",
            met=whole <= MAX_BYTES,
        )
    )


def measure_streaming(
    report: Report, browser: Browser, url: str, mode: str, seconds: int, folder: Path
) -> None:
    """Stream an answer at 500 tokens per second, as a continued text or as a chat's Markdown.

    The longest task counts in processor time of the page's main thread, from the browser's trace:
    on a busy machine a task also waits, which is not the page's work.
    """
    page = _open(browser, f"{url}/?mode={mode}")
    expect(page.locator("#generate")).to_be_enabled()
    page.click("#toggle-drawer")
    page.fill("#max-tokens", str(TOKENS_PER_SECOND * seconds))
    page.click("#close-drawer")
    page.fill("#prompt", "def main():")
    trace = folder / f"{mode}.json"
    browser.start_tracing(page=page, path=trace, categories=_TRACED)
    page.click("#generate")
    ended = re.compile("Stopped at|ended its text")
    expect(page.locator("#status")).to_have_text(ended, timeout=3e3 * seconds + 30e3)
    page.wait_for_timeout(500)  # what follows the last token
    browser.stop_tracing()
    rate = page.locator(".figures-line summary").last.inner_text()
    arrived = page.locator(".assistant .text").last.inner_text().count("word")
    report.note(f"{mode}: {arrived} words arrived; the page says {' '.join(rate.split())}")
    page.context.close()
    longest = _longest_task_ms(trace)
    report.add(
        Row(
            f"longest task, {mode}, {TOKENS_PER_SECOND} tokens/s arriving for {seconds} s",
            longest,
            "ms",
            bar=f"≤ {MAX_STREAMING_TASK_MS:g} ms of a processor",
            met=longest <= MAX_STREAMING_TASK_MS,
        )
    )


def _longest_task_ms(trace: Path) -> float:
    """Return the most processor time of one task of the page's main thread."""
    events = json.loads(trace.read_bytes())["traceEvents"]
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    times: list[float] = [
        event["tdur"] / 1e3
        for event in events
        if event["name"].endswith("RunTask")
        and "tdur" in event
        and (event["pid"], event["tid"]) in threads
    ]
    if len(times) < _FEWEST_TASKS:
        raise RuntimeError("this browser's trace does not name tasks")
    return max(times)


def measure_long_run(report: Report, browser: Browser, url: str, folder: Path, steps: int) -> None:
    """Load and draw a run of many logged steps."""
    record = folder / "metrics.jsonl"
    with record.open("w", encoding="utf-8") as file:
        for step in range(1, steps + 1):
            event = {
                "event": "stepped", "step": step, "loss": 5 - step / steps, "gradient_norm": 1.5,
                "learning_rate": 1.0, "tokens_per_second": 9e3,
            }  # fmt: skip
            file.write(json.dumps(event) + "\n")
    page = _open(browser, f"{url}/#train")
    page.set_input_files("#run-files", record)
    message = f"{steps:,} updates read"
    expect(page.locator("#view-train .status")).to_contain_text(message, timeout=60e3)
    page.wait_for_timeout(1000)
    _report_longest(report, page, f"reading a run of {steps:,} steps")


def _report_longest(report: Report, page: Page, when: str) -> None:
    longest = page.evaluate("window.longest")
    page.evaluate(_BLOCK)
    if page.evaluate("window.longest") < _BLOCKING_MS:
        raise RuntimeError("this browser does not name long tasks")
    page.context.close()
    report.add(
        Row(
            f"longest task, {when}",
            longest,
            "ms",
            bar=f"≤ {MAX_READING_TASK_MS:g} ms (0: none of 50 or more)",
            met=longest <= MAX_READING_TASK_MS,
        )
    )


def _open(browser: Browser, url: str) -> Page:
    """Open the page in a browser that has seen nothing of it, its tasks watched."""
    page = browser.new_context(viewport={"width": 1200, "height": 780}).new_page()
    page.add_init_script(_WATCH)
    page.goto(url)
    expect(page.locator("#model-name")).not_to_be_empty()
    return page


def main() -> int:
    """Measure everything; return 0 if every bar is met."""
    chosen = arguments("page", "The page's size, first paint and longest task.").parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("error: chromium is not installed: sudo apt-get install chromium")
    repeats, seconds, steps = (1, 2, 10_000) if chosen.quick else (5, 20, LOGGED_STEPS)
    report = Report("page", {"quick": chosen.quick}, ("ingot",))
    with tempfile.TemporaryDirectory(prefix="ingot-page-") as name, sync_playwright() as playwright:
        folder = Path(name)
        ingot = make_model(folder, "small", 64, 2, 16_384)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with serving_nothing(ingot) as served:
            measure_views(report, browser, served.url, repeats)
            measure_long_run(report, browser, served.url, folder, steps)
        with serving_nothing(ingot, TOKENS_PER_SECOND) as served:
            for mode in ("prompt", "chat"):
                measure_streaming(report, browser, served.url, mode, seconds, folder)
        browser.close()
    return report.finish(chosen.json)


if __name__ == "__main__":
    sys.exit(main())
