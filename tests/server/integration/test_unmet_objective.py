"""An objective that nothing can meet is said at the start, with the best that can be had."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineConfig
from ingot.inference.scheduling.kept_costs import costs_path, keep_costs
from tests.server.integration.test_objectives import slow_model


@pytest.fixture
def slow_costs(ingot: Ingot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder by which each token of the model takes a second."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = EngineConfig()
    path = costs_path(
        ingot.digest,
        executor="NativeExecutor",
        weights="stored",
        threads=config.threads,
        kv_cache=config.kv_cache_dtype,
    )
    keep_costs(path, slow_model())
    return tmp_path


def test_the_start_says_what_can_be_had_and_serves_all_the_same(
    ingot_path: Path, slow_costs: Path
) -> None:
    command = [sys.executable, "-m", "ingot", "serve", str(ingot_path), "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, "--objective", "ttft=1s,itl=50ms"],
        stdout=subprocess.PIPE,
        stderr=(slow_costs / "said").open("w"),
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(slow_costs), "NO_COLOR": "1"},
    ) as process:
        try:
            assert process.stdout is not None
            ready = "".join(iter(process.stdout.readline, "}\n"))
            url = ready.partition('"url": "')[2].partition('"')[0]
            body = {"model": "tiny", "prompt": "def", "max_tokens": 2}
            assert httpx.post(f"{url}/v1/completions", json=body, timeout=300).status_code == 200
        finally:
            process.terminate()
            process.wait(60)
    said = " ".join((slow_costs / "said").read_text().split())
    assert "nothing can meet the objective ttft=1s,itl=50ms,p=99" in said
    assert "a prompt of 128 tokens alone takes ttft" in said
    assert re.search(r"itl [0-9.e+]+ ms; nearly all requests will be refused", said)
