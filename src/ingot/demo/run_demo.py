"""All stages in one command: code and documentation of this Python become a served model.

A finished stage is reused. The run is replaced only when the text or the budget that it
was made for has changed, and only if the demo made it.
"""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ingot.api import inference, training
from ingot.artifact import open_ingot, verify
from ingot.console import report_to
from ingot.corpus import sources_fingerprint
from ingot.corpus.store.manifest import BaselineRecord
from ingot.demo.demo_folder import DemoFolder
from ingot.demo.demo_texts import CODE_SUFFIX, EXCLUDED, code_folder
from ingot.durations import parse_seconds
from ingot.errors import ArtifactError, IngotError, ServeError
from ingot.model.generation_config import GenerationDefaults
from ingot.server import Server, ServerConfig, listen
from ingot.training.monitoring.run_reporter import TrainingResult
from ingot.training.run_folder import checkpoint
from ingot.training.run_folder.run import PretrainingRun, open_pretraining_run

PROMPT = "Return the number of"
"""The page's first suggestion for a model that continues text, too."""
_TOKENS = 64
_SAMPLING = GenerationDefaults(temperature=0.6, top_p=0.95)
"""At temperature 1 a model of five minutes strays; greedily it repeats itself."""
_PAGE = "?open=answer"
_TIMEOUT = 60.0
_SETTINGS = {
    "corpus.suffixes": [CODE_SUFFIX],
    "corpus.exclude": list(EXCLUDED),
    "corpus.compression_baseline": True,
}


@dataclass(frozen=True)
class DemoReport:
    """Figures of the demo."""

    ingot: str
    digest: str
    url: str
    validation_loss: float
    """Nats per token on the whole held-out text."""
    bits_per_byte: float
    xz_bits_per_byte: float
    """What ``xz -9`` needs for the same text, given the training text first."""
    zstd_bits_per_byte: float
    """What ``zstd -19`` needs, likewise."""
    training_steps: int
    training_tokens_per_second: float
    inference_tokens_per_second: float | None
    """Of the one completion asked with ``once``."""
    completion: str | None
    """The served model's completion of the prompt; None without ``once``."""


def run_demo(
    console: Console, *, budget: str, folder: Path, out: Path, port: int, once: bool
) -> DemoReport:
    """Build, train, freeze, verify and serve; return the figures once the server has stopped.

    Raises:
        IngotError: of the stage that failed; the results of earlier stages are kept.
    """
    say = console.print
    demo_folder = DemoFolder(folder, parse_seconds(budget))
    demo_folder.check_ingot(out)
    config = ServerConfig(port=port)
    listener = listen(config)  # a port in use is reported before minutes of training
    say("[bold dark_orange]1[/] text and training")
    run, result = _trained(console, demo_folder, parse_seconds(budget))
    say("[bold dark_orange]2[/] freezing and verifying")
    _freeze(run, out)
    manifest = verify(out)
    demo_folder.sealed(manifest.digest)
    say(f"  {out}: {len(manifest.tensors)} tensors, every digest right\n  digest {manifest.digest}")
    corpus = open_pretraining_run(run).open_corpus().manifest
    if corpus.baseline is None or not result.bits_per_byte:
        raise IngotError(
            "the run has no figures to compare", where=run, fix="remove it and run ingot demo again"
        )
    say(f"  {_verdict(result.bits_per_byte, corpus.baseline)}", highlight=False)
    say("[bold dark_orange]3[/] serving")
    name = out.name.removesuffix(".ingot")
    with inference.load(out) as model:
        server = inference.serve(model, config, listener=listener)
        asked = _ask_once(server, name, manifest.digest) if once else None
        if asked is None:
            invitation = _invitation(server.url, name)
            server.run(on_ready=lambda: say(invitation, highlight=False, soft_wrap=True))
    return DemoReport(
        ingot=str(out),
        digest=manifest.digest,
        url=server.url,
        validation_loss=result.validation_loss,
        bits_per_byte=result.bits_per_byte,
        xz_bits_per_byte=corpus.baseline.xz_9,
        zstd_bits_per_byte=corpus.baseline.zstd_19,
        training_steps=result.steps,
        training_tokens_per_second=result.tokens_per_second,
        inference_tokens_per_second=asked.tokens_per_second if asked else None,
        completion=asked.text if asked else None,
    )


def _trained(
    console: Console, demo_folder: DemoFolder, budget: float
) -> tuple[Path, TrainingResult]:
    """Train the demo's run, resume it, or use it if it is finished."""
    run = open_pretraining_run(demo_folder.path) if demo_folder.has_run else None
    texts = [code_folder(), demo_folder.prose]
    same_text = run is None or (demo_folder.prose_is_current and _same_text(run, texts))
    if not (demo_folder.same_budget and same_text):
        console.print("  the text or the budget has changed: starting again")
        demo_folder.clear(run)
    demo_folder.begin()
    if not demo_folder.prose_is_current:
        console.print("  collecting text: documentation of installed packages")
        with Progress(TextColumn("  reading"), BarColumn(), console=console, transient=True) as bar:
            task = bar.add_task("", total=1.0)
            demo_folder.write_prose(lambda share: bar.update(task, completed=share))
    stopped = partial(training.stopped_run, demo_folder.path)
    with report_to(console, stopped) as (_, callbacks):
        if demo_folder.has_run:
            done = training.resume(demo_folder.path, callbacks=callbacks)
        else:
            done = training.train(
                texts, out=demo_folder.path, budget=budget, settings=_SETTINGS, callbacks=callbacks
            )
    return done.path, done.result


def _same_text(run: PretrainingRun, texts: list[Path]) -> bool:
    fingerprint = sources_fingerprint(texts, run.recipe.corpus)
    return run.open_corpus().manifest.sources_fingerprint == fingerprint


def _freeze(run: Path, out: Path) -> None:
    """Seal the best checkpoint unless ``out`` holds it already."""
    state = checkpoint.read_state(checkpoint.best(run))
    try:
        with open_ingot(out, verify=False) as ingot:
            origin = ingot.manifest.provenance
            sampled = ingot.generation == _SAMPLING
        if sampled and (origin.steps, origin.wall_seconds) == (state.step, state.elapsed):
            return
    except ArtifactError:
        pass  # it does not exist yet
    training.freeze(run, out, overwrite=True, generation=_SAMPLING).close()


def _verdict(bits: float, baseline: BaselineRecord) -> str:
    best = min(baseline.xz_9, baseline.zstd_19)
    difference = abs(bits / best - 1)
    judgement = (
        f"the model predicts this text {difference:.0%} better than the best compressor"
        if bits < best
        else f"the best compressor is {difference:.0%} ahead: a longer budget closes the gap"
    )
    return (
        f"held-out text, bits per byte: this model {bits:.3f}, xz -9 {baseline.xz_9:.3f}, "
        f"zstd -19 {baseline.zstd_19:.3f}; {judgement}"
    )


def _invitation(url: str, name: str) -> str:
    request = orjson.dumps({"model": name, "prompt": PROMPT, "max_tokens": _TOKENS}).decode()
    return (
        f"  open {url}/{_PAGE} in a browser, or ask from another terminal:\n"
        f"  curl {url}/v1/completions -H 'Content-Type: application/json' -d '{request}'\n"
        "  Ctrl-C stops."
    )


@dataclass(frozen=True)
class _Asked:
    text: str
    tokens_per_second: float


def _ask_once(server: Server, name: str, digest: str) -> _Asked:
    """Ask one completion through HTTP and check which weights answered."""
    with server:
        asked = {"model": name, "prompt": PROMPT, "max_tokens": _TOKENS, "seed": 1}
        body = orjson.dumps(asked | {"ignore_eos": True})  # so that the speed is of all of them
        request = urllib.request.Request(  # noqa: S310 (our own http address)
            f"{server.url}/v1/completions", body, {"Content-Type": "application/json"}
        )
        started = time.perf_counter()
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
            answer: dict[str, Any] = orjson.loads(response.read())
        seconds = time.perf_counter() - started
    if answer["system_fingerprint"] != digest:
        raise ServeError(
            f"answered with weights {answer['system_fingerprint']}, not {digest}", where=server.url
        )
    tokens = answer["usage"]["completion_tokens"]
    return _Asked(answer["choices"][0]["text"], tokens / seconds)
