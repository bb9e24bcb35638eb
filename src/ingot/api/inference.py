"""Inference, from Python: an ingot in, answers out. Imports nothing of training."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from ingot.artifact import Ingot, open_ingot
from ingot.errors import ServeError, UsageError
from ingot.inference import (
    Engine,
    EngineConfig,
    EngineLoop,
    OutputDelta,
    SamplingParams,
    TokenLogprob,
)
from ingot.inference.executors.base import Executor

if TYPE_CHECKING:
    from ingot.server import Server, ServerConfig

ExecutorName = Literal["auto", "native", "native-int8", "torch"]

_TIMEOUT = 600.0  # seconds for one answer, unless the caller says otherwise
_CLOSE_TIMEOUT = 10.0


@dataclass(frozen=True)
class GenerationResult:
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

    def generate(
        self, prompt: str, *, timeout: float = _TIMEOUT, **sampling: Any
    ) -> GenerationResult:
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
        return GenerationResult(
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

    def _deltas(
        self, prompt: str, timeout: float, sampling: dict[str, Any]
    ) -> Iterator[OutputDelta]:
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
        ids = self.ingot.tokenizer.encode(prompt) or [self.ingot.tokenizer.eos_id]
        for delta in self.loop.stream(ids, params, timeout):
            if delta.finish_reason in ("error", "deadline"):
                raise ServeError(delta.error or f"no answer within {timeout:g} s", where="engine")
            yield delta


def load(
    path: str | Path,
    *,
    executor: ExecutorName = "auto",
    engine: EngineConfig | None = None,
    verify: bool = True,
) -> Model:
    """Open an ingot, check every digest, make its weights read-only and start an engine.

    Args:
        path: The ingot.
        executor: "native" runs the C++ core with the ingot's own weights, "native-int8" the
            same core with weights rounded to int8 at loading, "torch" runs PyTorch; "auto" takes
            the core where it was built, else PyTorch.
        engine: Limits and the size of the key-value cache.
        verify: Read and check the weights' digests.

    Raises:
        ArtifactError: the ingot is missing, malformed or fails a digest.
        UsageError: no such executor, or it is not installed.
    """
    if executor not in get_args(ExecutorName):
        raise UsageError(
            f"{executor!r} is none", where="executor", fix="use auto, native, native-int8 or torch"
        )
    config = engine or EngineConfig()
    ingot = open_ingot(Path(path), verify=verify)
    runner = _executor(executor, ingot, config)
    return Model(ingot, EngineLoop(Engine(runner, ingot.tokenizer, config)))


def native_core_is_built() -> bool:
    """Tell whether the C++ core was compiled when Ingot was installed."""
    try:
        import_module("ingot.native")
    except ImportError:
        return False
    return True


def _executor(name: ExecutorName, ingot: Ingot, config: EngineConfig) -> Executor:
    """Build the executor; each is imported only where it is chosen."""
    blocks = config.blocks_for(ingot.config)
    built = native_core_is_built()
    if name == "torch" or (name == "auto" and not built):
        try:
            from ingot.inference.executors.torch import TorchExecutor
        except ModuleNotFoundError as error:
            raise UsageError(
                f"needs {error.name}, which is not installed",
                where="executor torch",
                fix="install ingot[train], or use the native executor",
            ) from error
        for setting in ("kv_cache_dtype", "pin_threads"):
            if getattr(config, setting):
                raise UsageError("is for the native executor", where=f"engine.{setting}")
        return TorchExecutor(
            ingot, num_blocks=blocks, block_size=config.block_size, threads=config.threads
        )
    if not built:
        raise UsageError(
            "the C++ core was not built",
            where=f"executor {name}",
            fix="install Python's headers (python3-dev) and install Ingot again, or use torch",
        )
    from ingot.inference.executors.native import NativeExecutor

    weights: Literal["stored", "int8"] = "int8" if name == "native-int8" else "stored"
    return NativeExecutor(
        ingot,
        num_blocks=blocks,
        block_size=config.block_size,
        weights=weights,
        kv_cache=config.kv_cache_dtype or "bf16",
        threads=config.threads,
        pinned=config.pin_threads,
    )


def serve(
    model: Model,
    config: ServerConfig | None = None,
    *,
    listener: socket.socket | None = None,
    further: Mapping[str, Model] | None = None,
    executor: ExecutorName = "auto",
    engine: EngineConfig | None = None,
) -> Server:
    """Return a server for loaded models; ``run`` it, or use it as a context manager.

    Args:
        model: The first model.
        config: Address, limits and waits.
        listener: A socket from ``listen(config)``, where the port was taken before.
        further: More models, by the names that clients call them.
        executor: Runs ingots that are exchanged while the server runs.
        engine: Limits of those.

    Raises:
        ServeError: the port is in use, or the address is public and that was not allowed.
    """
    from ingot.server import Server  # half a second that answering without HTTP need not wait

    def load_another(path: Path, weights: Literal["stored", "int8"]) -> tuple[Ingot, EngineLoop]:
        chosen = executor if weights == "stored" else "native-int8"
        loaded = load(path, executor=chosen, engine=engine)
        return loaded.ingot, loaded.loop

    more = [(name, another.ingot, another.loop) for name, another in (further or {}).items()]
    return Server(
        model.ingot, model.loop, config, listener=listener, further=more, loader=load_another
    )
