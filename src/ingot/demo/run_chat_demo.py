"""A small model that answers questions: fetched, imported, sealed in int8 and served."""

from __future__ import annotations

import dataclasses
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from ingot.api import inference
from ingot.api.importing import opened_model
from ingot.artifact import open_ingot, parse_scheme
from ingot.demo import smollm2
from ingot.errors import ArtifactError, ServeError, UsageError
from ingot.model.generation_config import GenerationDefaults
from ingot.server import Server, ServerConfig, listen

QUESTION = "What is the capital of France?"
_TOKENS = 100
_TIMEOUT = 120.0
_SAMPLING = GenerationDefaults(temperature=0.0)
"""Greedy. The card recommends 0.2 for the original weights; with the 4 bits of the file that leaves
the first word of an answer to chance: after the first question two tokens are less than 0.1 logits
apart.
"""
_PAGE = "?open=answer"


@dataclass(frozen=True)
class ChatDemoReport:
    """Figures of the chat demo."""

    ingot: str
    digest: str
    url: str
    ready_seconds: float
    """From the start until the server listened."""
    answer: str | None
    """To the one question asked with ``once``."""


def run_chat_demo(console: Console, *, out: Path, port: int, once: bool) -> ChatDemoReport:
    """Fetch, import, seal and serve the model; return the figures once the server has stopped.

    An ingot that is there already is served as it is.

    Raises:
        UsageError: the model cannot be fetched, something else is at ``out``, or the port is used.
        IngotError: of the stage that failed.
    """
    started = time.perf_counter()
    say = console.print
    config = ServerConfig(port=port)
    listener = listen(config)  # a port in use is reported before a download
    if _is_sealed(out):
        say(f"[bold dark_orange]1[/] {out} is there already")
    else:
        say("[bold dark_orange]1[/] fetching SmolLM2-135M-Instruct (93 MB, Apache-2.0)")
        source = smollm2.fetch()
        say(f"[bold dark_orange]2[/] importing it and sealing it in int8 as {out}")
        _seal(source, out)
    with inference.load(out) as model:
        server = inference.serve(model, config, listener=listener)
        name = out.name.removesuffix(".ingot")
        report = ChatDemoReport(str(out), model.digest, server.url, 0.0, None)
        if once:
            with server:
                ready = time.perf_counter() - started
                answer = _ask(server, name)
            say(f"  {QUESTION}\n  {answer}", highlight=False)
            return dataclasses.replace(report, ready_seconds=ready, answer=answer)
        ready = time.perf_counter() - started
        invitation = _invitation(server.url, name)
        server.run(on_ready=lambda: say(invitation, highlight=False, soft_wrap=True))
    return dataclasses.replace(report, ready_seconds=ready)


def _is_sealed(out: Path) -> bool:
    """Tell whether ``out`` is an ingot of this model.

    Raises:
        UsageError: something else is there.
    """
    if not out.exists() and not out.is_symlink():
        return False
    try:
        with open_ingot(out, verify=False) as ingot:
            origin = ingot.manifest.provenance.origin
    except ArtifactError:
        origin = None
    if origin is None or {each.sha256 for each in origin.files.values()} != {smollm2.SHA256}:
        raise UsageError(
            "was not made by ingot demo-chat, and is left as it is",
            where=out,
            fix="choose another --out, or remove it yourself",
        )
    return True


def _seal(source: Path, out: Path) -> None:
    with opened_model(source) as opened:
        greedy = dataclasses.replace(opened, generation=_SAMPLING)
        greedy.seal(out, scheme=parse_scheme("int8", None, ())).close()


def _invitation(url: str, name: str) -> str:
    messages = [{"role": "user", "content": QUESTION}]
    asked = {"model": name, "messages": messages, **_SAMPLING.sampling()}
    request = orjson.dumps(asked).decode()
    return (
        f"[bold dark_orange]3[/] open {url}/{_PAGE} in a browser, or ask from another terminal:\n"
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{request}'\n"
        "  Ctrl-C stops."
    )


def _ask(server: Server, name: str) -> str:
    """Ask the question through HTTP and return the answer."""
    asked = {
        "model": name,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": _TOKENS,
        **_SAMPLING.sampling(),
    }
    request = urllib.request.Request(  # noqa: S310 (our own http address)
        f"{server.url}/v1/chat/completions",
        orjson.dumps(asked),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
        answer: dict[str, Any] = orjson.loads(response.read())
    choice = answer["choices"][0]
    if choice["finish_reason"] != "stop":
        raise ServeError(f"the answer has no end: {choice['message']['content']!r}", where=name)
    return str(choice["message"]["content"])
