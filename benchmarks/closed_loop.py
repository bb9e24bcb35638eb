"""Closed-loop load on our server and on its peers in turn."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.http_load import Exchange, Loop, closed_loop, percentile, run
from benchmarks.peers.client import CLIENT, ask_with_vllm
from benchmarks.peers.environments import export
from benchmarks.peers.servers import SERVERS, serving_peer
from benchmarks.report import Report, Row
from benchmarks.serve_plot import draw_loops
from benchmarks.serving import SERVED_VOCABULARY, Served, Sizes, make_served_model, serving

PROMPT, ANSWER = 128, 64
MOST_TTFT_S, MOST_TPOT_S = 1.0, 0.05  # the objectives that goodput counts
LEAST_GOODPUT_RATIO = 2.0
OURS = "ingot int8"


def measure_closed_loop(report: Report, folder: Path, sizes: Sizes, plot: Path | None) -> None:
    """Ask our server and each peer that is installed with 1 to 256 clients, in turn."""
    ours = make_served_model(folder, "int8")
    here = [peer for peer in SERVERS if peer.installed and len(sizes.clients) > 2]
    for peer in SERVERS:
        if peer not in here:
            why = "--quick" if peer.installed else "python -m benchmarks.peers install"
            report.note(f"{peer.name} is left out: {why}")
    if here:
        weights = make_served_model(folder, "bf16")
    with contextlib.ExitStack() as stack:
        served = {OURS: stack.enter_context(serving(ours))}
        for peer in here:
            with _noted(report, peer.name):
                models = folder / f"served-{peer.environment}"
                export(peer.environment, weights, models)
                log = Path(stack.enter_context(tempfile.NamedTemporaryFile()).name)
                served[peer.name] = stack.enter_context(
                    serving_peer(peer, models, len(os.sched_getaffinity(0)), log)
                )
        loops = _ask_all(served, sizes)
        report_loops(report, loops)
        if plot:
            draw_loops(loops, plot)
        if CLIENT.installed and here:
            for name, server in served.items():
                with _noted(report, f"vllm bench serve of {name}"):
                    _measure_with_vllm(report, name, server, ours)


def _ask_all(served: dict[str, Served], sizes: Sizes) -> dict[str, list[Loop]]:
    """Return the loops of each server; the servers take turns at every number of clients."""
    loops: dict[str, list[Loop]] = {name: [] for name in served}
    for server in served.values():
        run(closed_loop(server.url, 4, min(3.0, sizes.loop_s), _requests(server)))
    for clients in sizes.clients:
        for name, server in served.items():
            loops[name].append(_loop(server, clients, sizes.loop_s))
    return loops


def _requests(server: Served) -> Callable[[int], dict[str, Any]]:
    def request(number: int) -> dict[str, Any]:
        chance = random.Random(f"{time.monotonic_ns()} {number}")  # no prompt comes twice
        prompt = [chance.randrange(300, SERVED_VOCABULARY) for _ in range(PROMPT)]
        return server.completion(prompt, ANSWER)

    return request


def _loop(server: Served, clients: int, seconds: float) -> Loop:
    began = time.perf_counter()
    done = run(closed_loop(server.url, clients, seconds, _requests(server)))
    spent = time.perf_counter() - began
    good = [each for each in done if each.complete]
    gaps = [
        later - earlier
        for exchange in good
        for earlier, later in zip(exchange.times, exchange.times[1:], strict=False)
    ]
    return Loop(
        clients,
        sum(int(each.usage.get("completion_tokens", 0)) for each in good) / spent,
        sum(each.first_s <= MOST_TTFT_S and tpot_s(each) <= MOST_TPOT_S for each in good) / spent,
        _middle_and_tail([each.first_s for each in good]),
        _middle_and_tail([tpot_s(each) for each in good]),
        _middle_and_tail(gaps),
        len(done) - len(good),
    )


def tpot_s(exchange: Exchange) -> float:
    """Return the seconds per token after the first, by the server's count of tokens."""
    return (exchange.seconds - exchange.first_s) / (int(exchange.usage["completion_tokens"]) - 1)


def _middle_and_tail(figures: list[float]) -> tuple[float, float]:
    return (percentile(figures, 50), percentile(figures, 99)) if figures else (0.0, 0.0)


def report_loops(report: Report, loops: dict[str, list[Loop]]) -> None:
    """Add a row for every figure, and our best goodput beside that of the best peer."""
    for name, own in loops.items():
        for each in own:
            title = f"{name}, {each.clients} clients"
            report.add(Row(f"{title}: throughput", each.tokens, "tokens/s"))
            report.add(Row(f"{title}: goodput", each.goodput, "requests/s"))
            for kind, pair in (("TTFT", each.ttft), ("TPOT", each.tpot), ("ITL", each.itl)):
                for percent, value in zip((50, 99), pair, strict=True):
                    report.add(Row(f"{title}: {kind} p{percent}", 1e3 * value, "ms"))
            bar = ("none", each.failed == 0) if name == OURS else (None, None)
            report.add(Row(f"{title}: failed", each.failed, "requests", bar=bar[0], met=bar[1]))
    peers = {name: max(each.goodput for each in own) for name, own in loops.items() if name != OURS}
    if not peers:
        return
    best = max(peers, key=lambda name: peers[name])
    value = max(each.goodput for each in loops[OURS])
    ratio = value / peers[best] if peers[best] else None
    report.add(
        Row(
            f"best goodput (TTFT ≤ {MOST_TTFT_S:g} s, TPOT ≤ {1e3 * MOST_TPOT_S:g} ms)",
            value,
            "requests/s",
            peer=best,
            peer_value=peers[best],
            ratio=ratio,
            bar=f"≥ {LEAST_GOODPUT_RATIO:g}x the best peer",
            met=ratio is None or ratio >= LEAST_GOODPUT_RATIO,
        )
    )


def _measure_with_vllm(report: Report, name: str, server: Served, tokenizer: Path) -> None:
    """Measure a server with vLLM's own client, which was not written for ours."""
    figures = ask_with_vllm(server, tokenizer, PROMPT, ANSWER, (MOST_TTFT_S, MOST_TPOT_S))
    title = f"vllm bench serve, 64 at once: {name}"
    report.add(Row(f"{title}, throughput", figures["output_throughput"], "tokens/s"))
    report.add(Row(f"{title}, goodput", figures["request_goodput"], "requests/s"))
    report.add(Row(f"{title}, TTFT p99", figures["p99_ttft_ms"], "ms"))
    report.add(Row(f"{title}, TPOT p99", figures["p99_tpot_ms"], "ms"))
    done = figures["completed"] / figures["num_prompts"]
    bar = ("all", done == 1) if name == OURS else (None, None)
    report.add(Row(f"{title}, answered", done, "of 1", bar=bar[0], met=bar[1]))


@contextlib.contextmanager
def _noted(report: Report, what: str) -> Iterator[None]:
    """Turn a failure inside the block into a note of the report."""
    try:
        yield
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        report.note(f"{what} failed: {error}")
