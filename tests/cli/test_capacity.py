"""``ingot plan`` on a real model; its figures are tested in tests/inference/capacity."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.api.capacity import Candidate, CapacityPlan, Price
from ingot.cli import capacity

Cli = Callable[..., subprocess.CompletedProcess[str]]
MIX = ("--mix", "prompt=8..16 answer=4 rate=2 seconds=5", "--measure", "1s", "--threads", "1")
SLOW = ("--objective", "ttft=10m,itl=60s")


def test_a_plan_says_what_is_carried_and_what_it_costs(here: Cli, sealed: Path) -> None:
    done = here("plan", sealed, *MIX, *SLOW, "--price", "0.36EUR/h", "--watts", "100", "--json")
    plan = json.loads(done.stdout)
    assert plan["source"].startswith("mix: prompt=8..16")
    assert {one["weights"] for one in plan["candidates"]} >= {"stored (bfloat16)", "int8", "int4"}
    best = plan["candidates"][0]
    assert best["machines"] == 1
    assert best["attainment"] == 1
    assert best["requests_per_s"] == max(one["requests_per_s"] for one in plan["candidates"])
    seconds = plan["requests"] / plan["rate"]
    tokens = plan["prompt_tokens"] + plan["answer_tokens"]
    assert best["price"]["all"] == pytest.approx(1e6 * 0.36 / 3600 * seconds / tokens)
    assert best["price"]["joules"] == pytest.approx(1e6 * 100 * seconds / tokens)
    for name, count in (("prompt", plan["prompt_tokens"]), ("answer", plan["answer_tokens"])):
        assert 0 < best["price"][name] * count < 1e6 * 0.36 / 3600 * seconds
    assert best["price"]["full"] < best["price"]["all"]
    assert "replaying int8" in done.stderr


def test_a_plan_of_a_log_is_a_table(here: Cli, sealed: Path, tmp_path: Path) -> None:
    line = {"message": "request", "seconds": 1.0, "prompt_tokens": 9, "completion_tokens": 3}
    log = tmp_path / "log"
    log.write_text(
        "".join(
            json.dumps(line | {"time": f"2026-11-29T12:00:{second:02}.000Z"}) + "\n"
            for second in range(10, 20)
        )
    )
    shown = here("plan", sealed, "--traffic", log, *MIX[2:], *SLOW).stdout
    shown = " ".join(shown.split())  # lines break where the log's path leaves them no space
    assert "10 requests, 1 a second, 90 tokens of prompts, 30 of answers" in shown
    assert "the cheapest: 1 of this machine" in shown


def test_what_cannot_be_kept_and_a_busy_machine_are_said() -> None:
    price = Price(None, None, None, None, None)
    none = Candidate("int8", 64, 512, 1 << 30, 0.0, 0.0, 0, price, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    plan = CapacityPlan("mix", 1, 1.0, 1, 1, 0, "ttft=1ms,p=99", "", 0.3, [none])
    busy, nothing = capacity._conclusion(plan)
    assert busy.startswith("30% of the measured steps were held up")
    assert nothing.startswith("nothing here keeps the objective")
    assert capacity._cells(none)[-1] == "none suffices"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--traffic, --mix: give one of them"),
        (("--mix", "prompt=1"), "--mix: does not say answer"),
        (("--traffic", "/no/such/log"), "/no/such/log"),
        ((*MIX, "--objective", "ttft=soon"), "--objective"),
        ((*MIX, "--price", "much"), "--price"),
        ((*MIX, "--measure", "long"), "--measure"),
        (("--mix", "prompt=500 answer=4 rate=1", "--measure", "1s"), "context of 64"),
    ],
)
def test_a_plan_that_is_not_understood_is_refused(
    here: Cli, sealed: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in here("plan", sealed, *arguments, code=2).stderr
