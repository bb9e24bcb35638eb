"""What ``ingot plan`` foretells, against a server that is then asked.

``python -m benchmarks.capacity [--quick] [--json FILE]``. The 100M shape with random weights; the
traffic is a mix. The plan says what this machine carries within the objective; then ``ingot serve``
gets the same requests at 85% and at 115% of that. The bar is that the plan is right within 15%: the
objective is kept at the first and not at the second. Client and server share the machine, so the
client's own work is in the figures.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.http_load import Exchange, ask, percentile, run
from benchmarks.report import Report, Row, arguments
from benchmarks.serving import Served, make_model, make_served_model, serving
from ingot.api.executors import build_executor
from ingot.artifact import open_ingot
from ingot.inference import EngineConfig
from ingot.inference.capacity.calibrate import calibrate
from ingot.inference.capacity.mix import read_mix
from ingot.inference.capacity.replay import Outcome, StepCosts, replay
from ingot.inference.capacity.search import carried
from ingot.inference.capacity.traffic import Traffic
from ingot.inference.request.objective import Objective, parse_objective

OBJECTIVE = "ttft=1s,itl=100ms"
_WITHIN = 0.15


def foretell(ingot: Path, traffic: Traffic, objective: Objective) -> tuple[float, StepCosts]:
    """Return the largest factor of the traffic that is carried, and what steps cost."""
    config = EngineConfig()
    with open_ingot(ingot) as opened:
        executor = build_executor("auto", "stored", opened, config)
        try:
            costs = calibrate(executor, opened.tokenizer, config, traffic)
        finally:
            executor.close()
        found = carried(traffic, _sized(ingot), costs, objective, max_context=_context(ingot))
    if found is None or not found.factor:
        raise RuntimeError("the plan says that nothing is carried; leave the machine idle")
    return found.factor, costs


async def offer(served: Served, traffic: Traffic, factor: float) -> list[Exchange]:
    """Send every request at its time."""
    began = time.perf_counter()

    async def one(number: int) -> Exchange:
        request = traffic.requests[number]
        await asyncio.sleep(max(request.at_s / factor - (time.perf_counter() - began), 0.0))
        ids = [token % 2000 for token in request.token_ids]
        return await ask(served.url, served.completion(ids, request.answer))

    return list(await asyncio.gather(*map(one, range(len(traffic.requests)))))


def in_time(exchange: Exchange, objective: Objective) -> bool:
    """Tell whether an answer kept the objective, as a client sees it."""
    if not exchange.complete or exchange.first_s > (objective.ttft_s or 3600):
        return False
    times = exchange.times[:-1]  # the last event only ends the stream
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    late = sum(gap > (objective.itl_s or 3600) for gap in gaps)
    return late <= -(-len(gaps) * (100 - objective.percentile) // 100)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    asked = arguments("capacity", str(__doc__).partition("\n")[0]).parse_args(argv)
    seconds = 30 if asked.quick else 60
    mix = f"prompt=64..256 answer=32..64 rate=5 seconds={seconds}"
    report = Report("capacity", {"mix": mix, "objective": OBJECTIVE, "quick": asked.quick})
    objective = parse_objective(OBJECTIVE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ingot = (
            make_model(folder, "small", hidden=256, layers=4, context=2048)
            if asked.quick
            else make_served_model(folder, "bf16")
        )
        traffic = read_mix(mix)
        factor, costs = foretell(ingot, traffic, objective)
        report.add(Row("carried, by the plan", factor * traffic.rate, "requests/s"))
        for share in (1 - _WITHIN, 1 + _WITHIN):
            foreseen = replay(
                traffic,
                _sized(ingot),
                costs,
                objective,
                max_context=_context(ingot),
                factor=share * factor,
            )
            with serving(ingot, f"server.objective={OBJECTIVE}") as served:
                exchanges = run(offer(served, traffic, share * factor))
            _compare(report, share, foreseen, exchanges, objective)
    return report.finish(asked.json)


def _compare(
    report: Report,
    share: float,
    foreseen: Outcome,
    exchanges: list[Exchange],
    objective: Objective,
) -> None:
    """Report one load: what was foreseen, and what came of it."""
    kept = sum(in_time(one, objective) for one in exchanges) / len(exchanges)
    least = objective.percentile / 100
    below = share < 1
    report.add(
        Row(
            f"requests in time at {share:.0%} of that",
            kept,
            "of 1",
            peer="plan",
            peer_value=foreseen.attainment,
            bar=f"≥ {least:.2f}" if below else f"below {least:.2f}",
            met=kept >= least if below else kept < least,
        )
    )
    first = [one.first_s for one in exchanges if one.complete]
    if first and below:
        measured, said = percentile(first, 50), percentile(foreseen.first_s, 50)
        report.add(
            Row(
                f"median time to the first token at {share:.0%}",
                1000 * measured,
                "ms",
                peer="plan",
                peer_value=1000 * said,
                ratio=said / measured,
                bar=f"plan within {_WITHIN:.0%}",
                met=abs(said / measured - 1) <= _WITHIN,
            )
        )


def _context(ingot: Path) -> int:
    with open_ingot(ingot, verify=False) as opened:
        return opened.config.max_position_embeddings


def _sized(ingot: Path) -> EngineConfig:
    """Return the default limits with the blocks that the server will have."""
    with open_ingot(ingot, verify=False) as opened:
        return EngineConfig(num_blocks=EngineConfig().blocks_for(opened.config))


if __name__ == "__main__":
    sys.exit(main())
