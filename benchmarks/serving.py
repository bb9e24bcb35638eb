"""Servers and models for benchmarks; each server is a separate process."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import orjson

from benchmarks.random_models import SHAPES, Format, code_tokenizer, freeze_random
from ingot.model import ModelConfig

SERVED_VOCABULARY = 4096


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes and repeats of a run of the benchmark."""

    repeats: int
    tokens: int
    """Of each answer where throughput is measured."""
    null_tokens: int
    """Of each stream of the null engine."""
    loop_s: float
    """Seconds of each closed loop."""
    clients: tuple[int, ...]
    streams: int
    overload_s: float
    soak_s: float
    objective_s: float = 8.0
    """Seconds of each load that objectives are kept under."""


FULL = Sizes(3, 256, 2000, 20.0, (1, 4, 16, 64, 256), 5000, 30.0, 600.0, 30.0)
QUICK = Sizes(1, 48, 300, 1.5, (1, 64), 400, 3.0, 4.0)


@dataclass(frozen=True, slots=True)
class Served:
    """A server in a separate process."""

    url: str
    model: str
    process: subprocess.Popen[str]

    def completion(self, prompt: str | list[int], tokens: int, **fields: Any) -> dict[str, Any]:
        """Return a request for a greedy stream of ``tokens`` tokens."""
        return {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        } | fields

    def metric(self, name: str) -> float:
        """Return the sum of a metric's samples."""
        text = httpx.get(f"{self.url}/metrics", timeout=30).text
        lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def resident_bytes(self) -> int:
        """Return the resident memory of the server, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024


@contextlib.contextmanager
def serving(ingot: Path, *settings: str, options: Sequence[str] = ()) -> Iterator[Served]:
    """Run ``ingot serve`` inside the block, with settings and further options."""
    chosen = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "ingot", "serve", str(ingot), "--port", "0", "--json"]
    with ended_after(
        [*command, *options, *chosen, "--set", "server.log_requests=false"]
    ) as process:
        said = "".join(iter(lambda: _line(process), "}\n"))
        yield Served(orjson.loads(said + "}")["url"], ingot.stem, process)


@contextlib.contextmanager
def serving_nothing(ingot: Path, tokens_per_second: int = 0) -> Iterator[Served]:
    """Run the null engine's server inside the block; 0 tokens a second have no limit."""
    command = [sys.executable, "-m", "benchmarks.null_server", str(ingot), str(tokens_per_second)]
    with ended_after(command) as process:
        yield Served(_line(process).strip(), ingot.stem, process)


@contextlib.contextmanager
def ended_after(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a command inside the block; end it by SIGTERM, or by SIGKILL if it does not react."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _line(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints.

    Raises:
        RuntimeError: it has ended.
    """
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"{process.args!r} ended with {process.wait(10)}")
    return line


def make_model(folder: Path, name: str, hidden: int, layers: int, context: int) -> Path:
    """Freeze a model with random weights."""
    config = ModelConfig(
        vocab_size=2048,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 64,
        head_dim=32,
        max_position_embeddings=context,
    )
    return freeze_random(folder / f"{name}.ingot", config, code_tokenizer(2048), "bf16")


def make_served_model(folder: Path, kind: Format) -> Path:
    """Freeze a model of 88M random weights, once per folder."""
    out = folder / f"served-{kind}.ingot"
    if not out.exists():
        config = replace(SHAPES["100M"], vocab_size=SERVED_VOCABULARY)
        freeze_random(out, config, code_tokenizer(SERVED_VOCABULARY), kind)
    return out
