"""Inference, from Python: an ingot in, answers out. Imports nothing of training."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ingot.artifact import Ingot, open_ingot
from ingot.errors import ServeError, UsageError
from ingot.inference import (
    Delta,
    Engine,
    EngineConfig,
    EngineLoop,
    SamplingParams,
    TokenLogprob,
    validate,
)
from ingot.server import Server, ServerConfig

_TIMEOUT = 600.0  # seconds for one answer, unless the caller says otherwise
_CLOSE_TIMEOUT = 10.0


@dataclass(frozen=True)
class Answer:
    """What a model answered. ``str()`` of it is the text."""

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...]
    finish_reason: str
    """"stop": the model or a stop text ended it; "length": a limit did."""
    digest: str
    """Names the weights that made it."""
    seconds: float

    def __str__(self) -> str:
        return self.text


class Model:
    """A loaded ingot that answers; safe to use from many threads at once."""

    def __init__(self, ingot: Ingot, loop: EngineLoop) -> None:
        self.ingot = ingot
        self.loop = loop

    @property
    def digest(self) -> str:
        """The ingot's digest."""
        return self.ingot.digest

    def generate(self, prompt: str, *, timeout: float = _TIMEOUT, **sampling: Any) -> Answer:
        """Return the whole answer to a prompt.

        Args:
            prompt: The text to continue.
            timeout: Seconds until the answer is given up.
            sampling: Fields of ``SamplingParams``: max_tokens, temperature, seed, stop …

        Raises:
            UsageError: a parameter out of range, or a prompt longer than the context.
            ServeError: the engine failed, or the time ran out.
        """
        started = time.perf_counter()
        deltas = list(self._deltas(prompt, timeout, sampling))
        return Answer(
            text="".join(delta.text for delta in deltas),
            token_ids=tuple(token for delta in deltas for token in delta.token_ids),
            logprobs=tuple(entry for delta in deltas for entry in delta.logprobs),
            finish_reason=deltas[-1].finish_reason or "error",
            digest=self.digest,
            seconds=time.perf_counter() - started,
        )

    def stream(self, prompt: str, *, timeout: float = _TIMEOUT, **sampling: Any) -> Iterator[str]:
        """Yield the answer as it is made; leaving the loop early cancels the rest."""
        for delta in self._deltas(prompt, timeout, sampling):
            if delta.text:
                yield delta.text

    def close(self) -> None:
        """Stop the engine and unmap the weights."""
        self.loop.close(_CLOSE_TIMEOUT)
        self.ingot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _deltas(self, prompt: str, timeout: float, sampling: dict[str, Any]) -> Iterator[Delta]:
        unknown = sampling.keys() - SamplingParams.__dataclass_fields__.keys()
        if unknown:
            raise UsageError(
                "is not a sampling parameter",
                where=min(unknown),
                fix="use " + ", ".join(SamplingParams.__dataclass_fields__),
            )
        if isinstance(sampling.get("stop"), str):
            sampling["stop"] = (sampling["stop"],)
        params = SamplingParams(**sampling)
        validate(params)
        ids = self.ingot.tokenizer.encode(prompt) or [self.ingot.tokenizer.eos_id]
        for delta in self.loop.stream(ids, params, timeout):
            if delta.finish_reason in ("error", "deadline"):
                raise ServeError(delta.error or f"no answer within {timeout:g} s", where="engine")
            yield delta


def load(path: str | Path, *, engine: EngineConfig | None = None, verify: bool = True) -> Model:
    """Open an ingot, check every digest, map its weights read-only and start an engine.

    Raises:
        ArtifactError: the ingot is missing, malformed or fails a digest.
    """
    from ingot.inference.executors.torch import TorchExecutor

    config = engine or EngineConfig()
    ingot = open_ingot(Path(path), verify=verify)
    executor = TorchExecutor(
        ingot, num_blocks=config.blocks_for(ingot.config), block_size=config.block_size
    )
    return Model(ingot, EngineLoop(Engine(executor, ingot.tokenizer, config)))


def serve(
    model: Model, config: ServerConfig | None = None, *, listener: socket.socket | None = None
) -> Server:
    """Return a server for a loaded model; ``run`` it, or use it as a context manager.

    Raises:
        ServeError: the port is in use, or the address is public and that was not allowed.
    """
    return Server(model.ingot, model.loop, config, listener=listener)
