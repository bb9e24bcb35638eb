"""What an installed wheel has to do: serve a small model without a compiler and without PyTorch.

Usage: ``wheel_check.py make INGOT``, with the development packages, makes the model;
``wheel_check.py run INGOT``, with the wheel under test, prints what it answers, as JSON.
"""

# ruff: noqa: S101, S310, S603 (a check; our own command and address)

from __future__ import annotations

import json
import platform
import subprocess
import sys
import urllib.request
from pathlib import Path

_WAIT_S = 600.0  # an emulated processor takes its time
_TOKENS = 24


def make(ingot: Path) -> None:
    """Seal a small model of random weights in int8."""
    from benchmarks.random_models import make_random_ingot  # noqa: PLC0415  needs all of Ingot

    made = make_random_ingot(ingot.parent, "5M", "int8")
    made.rename(ingot)


def run(ingot: Path) -> None:
    """Serve the model, ask it, and print what it answers."""
    from ingot.api import inference  # noqa: PLC0415  of the wheel, which `make` does not have
    from ingot.native import kernels  # noqa: PLC0415

    assert inference.native_core_is_built()
    assert "torch" not in sys.modules
    command = [sys.executable, "-m", "ingot", "serve", str(ingot), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            ready = "".join(iter(server.stdout.readline, "}\n"))
            tokens = _ask(json.loads(ready + "}")["url"], ingot.name.removesuffix(".ingot"))
        finally:
            server.terminate()
    said = f"CPython {platform.python_version()} on {platform.machine()} serves, kernels"
    answer = {"tokens": tokens, "said": f"{said} {' '.join(kernels())}"}
    sys.stdout.write(json.dumps(answer))


def _ask(url: str, model: str) -> str:
    """Return the greedy continuation of a prompt."""
    greedy = {"max_tokens": _TOKENS, "temperature": 0, "ignore_eos": True}
    body = {"model": model, "prompt": "def", **greedy}
    request = urllib.request.Request(
        f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_WAIT_S) as answer:
        text: str = json.loads(answer.read())["choices"][0]["text"]
    return text


if __name__ == "__main__":
    {"make": make, "run": run}[sys.argv[1]](Path(sys.argv[2]))
