"""``ingot serve --cluster`` from the command line to Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from ingot.api.inference import load
from ingot.inference import SamplingParams


def test_a_model_is_served_until_ctrl_c(sealed: Path) -> None:
    arguments = ["--cluster", "local", "--replicas", "1..2", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ingot", "serve", sealed, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        ready = re.fullmatch(
            r"serving (.+) \((\w+)\) at (\S+) on local, .*\n", process.stdout.readline()
        )
        assert ready, process.communicate()
        name, digest, url = ready.groups()
        with load(sealed) as model:
            assert model.digest.startswith(digest)
            params = SamplingParams(max_tokens=8, seed=1)
            wanted = "".join(delta.text for delta in model.loop.stream([7, 8], params, 60.0))
        body = {"model": name, "prompt": [7, 8], "max_tokens": 8, "seed": 1}
        answer = httpx.post(f"{url}/v1/completions", json=body, timeout=60)
        assert answer.json()["choices"][0]["text"] == wanted
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it
        out, errors = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=120)
    assert (process.returncode, out, errors) == (0, "", "stopped; every replica has ended\n")
