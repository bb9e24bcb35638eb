"""What hostile clients cost a bystander: the rate of a stream alone, and beside each load.

``python -m benchmarks.hostile [--quick] [--json FILE] [--only LOAD ...]``. The loads are those of
``benchmarks.hostile_loads``; each comes from a separate process, which shares the machine's CPUs
with the server and so adds to what it costs. The model has random weights, and a chat template
that would write 16 million characters.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx

from benchmarks.hostile_loads import LOADS
from benchmarks.random_models import SHAPES, code_tokenizer, freeze_random
from benchmarks.report import Report, Row, arguments, median_and_spread
from benchmarks.serving import SERVED_VOCABULARY, Served, ended_after, serving
from ingot.model import Tokenizer
from ingot.server.access.api_keys import make_key

MOST_COST = 0.20
_KEYS = 40
_TEMPLATE = "{{ '☃' * 16000000 }}"
_WARM_UP_S = 2.0


def make_ingot(folder: Path, *, quick: bool) -> Path:
    """Freeze the model that is served, with the template of a stranger."""
    plain = code_tokenizer(SERVED_VOCABULARY)
    tokenizer = Tokenizer.from_json(plain.to_json(), chat_templates={"default": _TEMPLATE})
    config = replace(SHAPES["5M" if quick else "100M"], vocab_size=SERVED_VOCABULARY)
    return freeze_random(folder / "served.ingot", config, tokenizer, "int8")


def make_keys(path: Path) -> list[str]:
    """Write a file of keys; return them, the bystander's last."""
    made = [make_key(f"key-{number}") for number in range(_KEYS + 1)]
    path.write_text("\n".join(entry for _, entry in made), encoding="utf-8")
    path.chmod(0o600)
    return [key for key, _ in made]


def stream_rate(served: Served, key: str, tokens: int) -> float:
    """Return the tokens per second of one stream, its wait for the first included.

    Raises:
        RuntimeError: the stream broke off.
    """
    began = time.perf_counter()
    request = served.completion("def function(value):\n", tokens)
    headers = {"authorization": f"Bearer {key}"}
    url = f"{served.url}/v1/completions"
    last = ""
    with httpx.stream("POST", url, json=request, headers=headers, timeout=600) as response:
        for line in response.iter_lines():
            last = line or last
    if last != "data: [DONE]":
        raise RuntimeError(f"the bystander's stream ended with {last!r}")
    return tokens / (time.perf_counter() - began)


@contextlib.contextmanager
def attacking(name: str, served: Served, keys: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Send a load inside the block.

    Raises:
        RuntimeError: the load ended by itself.
    """
    command = [sys.executable, "-m", "benchmarks.hostile_loads", name, served.url, served.model]
    with ended_after([*command, *keys]) as process:
        time.sleep(_WARM_UP_S)
        yield process
        if process.poll() is not None:
            raise RuntimeError(f"the load {name} ended with {process.returncode}")


def measure(report: Report, name: str, served: Served, keys: list[str], *, quick: bool) -> None:
    """Measure one load: the bystander alone and beside it, in turn."""
    tokens, repeats = (64, 1) if quick else (1024, 5)  # seconds, so that credits are spent
    load, bystander = LOADS[name], keys[-1]
    alone: list[float] = []
    ratios: list[float] = []
    for _ in range(repeats):
        alone.append(stream_rate(served, bystander, tokens))
        with attacking(name, served, keys[:-1]):
            ratios.append(stream_rate(served, bystander, tokens) / alone[-1])
    ratio, spread = median_and_spread(ratios)
    rate, _ = median_and_spread(alone)
    report.add(
        Row(
            f"{name}: {load.what}",
            ratio * rate,
            "tokens/s",
            spread,
            peer="alone",
            peer_value=rate,
            ratio=ratio,
            bar=f"≥ {1 - MOST_COST:.0%} of alone" if load.one_client else None,
            met=ratio >= 1 - MOST_COST if load.one_client else None,
        )
    )
    report.add(Row("  memory of the server", served.resident_bytes() / 1e6, "MB"))


def main() -> int:
    """Measure every load; return 0 if every bar is met."""
    parser = arguments("hostile", "What hostile clients cost a bystander.")
    parser.add_argument("--only", nargs="+", choices=LOADS, default=list(LOADS), metavar="LOAD")
    chosen = parser.parse_args()
    report = Report("hostile", {"quick": chosen.quick, "loads": list(chosen.only)})
    with tempfile.TemporaryDirectory(prefix="ingot-hostile-") as name:
        folder = Path(name)
        ingot = make_ingot(folder, quick=chosen.quick)
        keys = make_keys(folder / "keys.toml")
        with serving(ingot, f"server.api_keys={folder / 'keys.toml'}") as served:
            stream_rate(served, keys[-1], 16)
            for load in chosen.only:
                measure(report, load, served, keys, quick=chosen.quick)
            health = httpx.get(f"{served.url}/health", timeout=60).json()["status"]
        report.note(f"afterwards /health says {health!r}")
    return report.finish(chosen.json)


if __name__ == "__main__":
    sys.exit(main())
