"""Inference from Python: an ingot in, answers out. Imports nothing of training."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from ingot.api.executors import ExecutorName, build_executor
from ingot.api.sources import as_ingot
from ingot.artifact import (
    Ingot,
    Manifest,
    TrustedKeys,
    chat_template_source,
    knows_conversations,
    open_ingot,
)
from ingot.artifact import verify as verify_ingot
from ingot.artifact.source_kind import is_foreign
from ingot.costs import CostConfig
from ingot.errors import ArtifactError, ServeError, UsageError
from ingot.inference import (
    Engine,
    EngineConfig,
    EngineLoop,
    Objective,
    OutputDelta,
    SamplingParams,
    TokenLogprob,
)
from ingot.inference.config import Weights
from ingot.inference.executors.base import Executor
from ingot.inference.scheduling.cost_model import CostModel
from ingot.inference.scheduling.kept_costs import costs_path, keep_costs, read_costs
from ingot.inference.scheduling.measured_costs import measure_costs
from ingot.model.chat import ChatTemplate, Messages, most_characters
from ingot.settings import check_tables

if TYPE_CHECKING:
    from ingot.server import KvEventsConfig, Server, ServerConfig

PathLike = str | os.PathLike[str]

SHORT_PROMPT = 128
"""Tokens of a prompt by which it is judged whether an objective can be met at all."""
_TIMEOUT = 600.0  # seconds for one request, unless the caller gives another value
_CLOSE_TIMEOUT = 10.0
_TRAINER = Path(__file__).with_name("update_worker.py")
"""Started, never imported: training and inference do not meet."""


@dataclass(frozen=True)
class GenerationResult:
    """One generated text with what belongs to it; ``str()`` returns the text."""

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...]
    finish_reason: str
    """``"stop"``: the model or a stop text ended it; ``"length"``: a limit did."""
    digest: str
    """Digest of the ingot that generated it."""
    seconds: float
    """Wall time, time in the queue included."""

    def __str__(self) -> str:
        return self.text


class Model:
    """A loaded ingot with an engine; may be used from many threads at once."""

    def __init__(
        self, ingot: Ingot, loop: EngineLoop, *, generation_config: Literal["auto", "none"] = "auto"
    ) -> None:
        self.ingot = ingot
        self.loop = loop
        self.defaults = ingot.generation.sampling() if generation_config == "auto" else {}
        """Sampling parameters where a call gives none."""
        self._template: ChatTemplate | None = None
        self._template_lock = threading.Lock()

    @property
    def digest(self) -> str:
        """The ingot's digest."""
        return self.ingot.digest

    def generate(
        self, prompt: str, *, timeout: float = _TIMEOUT, **sampling: Any
    ) -> GenerationResult:
        """Continue a prompt and return the whole result.

        Args:
            prompt: The text to continue; a chat template is not applied.
            timeout: Seconds after which the request is cancelled.
            sampling: Fields of ``SamplingParams``: max_tokens, temperature, seed, stop …

        Raises:
            UsageError: a parameter is unknown or out of range, or the prompt is longer than the
                context.
            ServeError: the engine failed, or the time ran out.
        """
        return self._collect(self._encode(prompt), timeout, sampling)

    def chat(
        self, messages: Messages, *, timeout: float = _TIMEOUT, **sampling: Any
    ) -> GenerationResult:
        """Answer a conversation through the model's chat template.

        Args:
            messages: Such as ``[{"role": "user", "content": "Two and two?"}]``.
            timeout: Seconds after which the request is cancelled.
            sampling: Fields of ``SamplingParams``.

        Raises:
            UsageError: the template refuses the messages; otherwise as ``generate``.
            ArtifactError: the template is not valid, or exceeds its limits.
            ServeError: the engine failed, or the time ran out.
        """
        return self._collect(self.encode_chat(messages), timeout, sampling)

    def encode_chat(self, messages: Messages) -> list[int]:
        """Return the token ids that the chat template makes of a conversation.

        Raises:
            UsageError: the template refuses the messages.
            ArtifactError: the template is not valid, or exceeds its limits.
        """
        with self._template_lock:  # one process renders for all threads
            if self._template is None:
                self._template = ChatTemplate(
                    chat_template_source(self.ingot),
                    characters=most_characters(self.ingot.tokenizer, self.loop.max_context),
                )
            return self._template.encode(self.ingot.tokenizer, messages)

    @property
    def knows_conversations(self) -> bool:
        """Whether the model was trained on conversations; a base model continues text."""
        return knows_conversations(self.ingot)

    def stream(self, prompt: str, *, timeout: float = _TIMEOUT, **sampling: Any) -> Iterator[str]:
        """Continue a prompt and yield the text as it is generated.

        Leaving the loop early cancels the rest. Arguments and errors are those of ``generate``.
        """
        yield from self._texts(self._encode(prompt), timeout, sampling)

    def stream_chat(
        self, messages: Messages, *, timeout: float = _TIMEOUT, **sampling: Any
    ) -> Iterator[str]:
        """Answer a conversation and yield the text as it is generated.

        Leaving the loop early cancels the rest. Arguments and errors are those of ``chat``.
        """
        yield from self._texts(self.encode_chat(messages), timeout, sampling)

    def close(self) -> None:
        """Stop the engine and release the weights."""
        if self._template is not None:
            self._template.close()
        self.loop.close(_CLOSE_TIMEOUT)
        self.ingot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _encode(self, prompt: str) -> list[int]:
        tokenizer = self.ingot.tokenizer
        # An empty prompt begins as a document does: after the end of another one.
        return [*tokenizer.prefix, *tokenizer.encode(prompt)] or [tokenizer.start_id]

    def _collect(
        self, ids: list[int], timeout: float, sampling: dict[str, Any]
    ) -> GenerationResult:
        started = time.perf_counter()
        deltas = list(self._deltas(ids, timeout, sampling))
        return GenerationResult(
            text="".join(delta.text for delta in deltas),
            token_ids=tuple(token for delta in deltas for token in delta.token_ids),
            logprobs=tuple(entry for delta in deltas for entry in delta.logprobs),
            finish_reason=deltas[-1].finish_reason or "error",
            digest=self.digest,
            seconds=time.perf_counter() - started,
        )

    def _texts(self, ids: list[int], timeout: float, sampling: dict[str, Any]) -> Iterator[str]:
        return (delta.text for delta in self._deltas(ids, timeout, sampling) if delta.text)

    def _deltas(
        self, ids: list[int], timeout: float, sampling: dict[str, Any]
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
        params = SamplingParams(**{**self.defaults, **sampling})
        for delta in self.loop.stream(ids, params, timeout):
            if delta.finish_reason in ("error", "deadline"):
                raise ServeError(delta.error or f"no answer within {timeout:g} s", where="engine")
            yield delta


def verify(
    path: PathLike,
    *,
    live: str | None = None,
    model: str | None = None,
    key: str | None = None,
    signed_by: Sequence[PathLike] = (),
    signature: PathLike | None = None,
) -> Manifest:
    """Check every digest of an ingot, and those of the weights that a server holds in memory.

    Args:
        path: The ingot.
        live: Address of a server that serves it, such as ``http://127.0.0.1:8000``.
        model: Name of the model there; the name of the ingot's folder by default.
        key: API key of that server, if it requires one.
        signed_by: PEM files of public keys, of which one must have signed the ingot.
        signature: The signature file; ``PATH.sig`` beside the ingot by default.

    Returns:
        The manifest, with the digest of every tensor.

    Raises:
        ArtifactError: a digest differs; the file or tensor is named. Or the ingot is not signed as
            required.
        UsageError: a key is of no use, or a signature is given without a key.
        ServeError: the server does not answer.
    """
    path = Path(path)
    if signature is not None and not signed_by:
        raise UsageError("needs a public key", where="signature", fix="add --key public.pem")
    manifest = verify_ingot(path, _trusted(signed_by, signature))
    if live is not None:
        # An HTTP client, slow to load.
        from ingot.api.verify_live import verify_live

        verify_live(live, model or path.absolute().name.removesuffix(".ingot"), manifest, key)
    return manifest


def load(
    path: PathLike,
    *,
    executor: ExecutorName = "auto",
    weights: Weights = "stored",
    engine: EngineConfig | None = None,
    verify: bool = True,
    signed_by: Sequence[PathLike] = (),
    generation_config: Literal["auto", "none"] = "auto",
    objectives: bool = False,
) -> Model:
    """Open an ingot, check every digest, make its weights read-only and start an engine.

    Args:
        path: The ingot; or a model of another program, which is imported into a cache first
            (``ingot.api.sources.as_ingot``).
        executor: "native" runs the C++ core, "torch" runs PyTorch; "auto" takes the core where
            it was built, else PyTorch.
        weights: "stored" computes with the ingot's own weights; "bf16", "int8" or "int4" rounds
            them while they are loaded, which needs the C++ core and an ingot that is not
            quantized.
        engine: Limits and the size of the key-value cache.
        verify: Read and check the weights' digests.
        signed_by: PEM files of public keys, of which one must have signed the ingot
            (``PATH.sig`` beside it); with none, no signature is looked for.
        generation_config: How to sample where a call does not say: "auto" as the model's own
            ``generation_config.json`` does, "none" with the defaults of ``SamplingParams``.
        objectives: Requests will have latency objectives: what steps cost is measured first, in
            some three seconds, unless it is known from an earlier time.

    Raises:
        ArtifactError: the ingot is missing, malformed, fails a digest or is not signed as required.
        UsageError: ``executor`` or ``weights`` is unknown, not installed, or not for this ingot.
    """
    if executor not in get_args(ExecutorName):
        raise UsageError(
            f"{executor!r} is not an executor", where="executor", fix="use auto, native or torch"
        )
    if weights not in get_args(Weights):
        raise UsageError(
            f"{weights!r} is not a format of weights",
            where="weights",
            fix="use stored, bf16, int8 or int4",
        )
    config = engine or EngineConfig()
    if signed_by and not verify:
        raise UsageError(
            "must be true where a signature is required", where="verify", fix="leave it out"
        )
    if signed_by and is_foreign(path):  # not even imported
        raise ArtifactError(
            "is a model of another program, which is not signed",
            where=os.fspath(path),
            fix="import it and sign the ingot: ingot import, ingot sign",
        )
    ingot = open_ingot(as_ingot(path), verify=verify, trusted=_trusted(signed_by))
    runner = build_executor(executor, weights, ingot, config)
    if objectives:
        cost, keep = _costs(runner, weights, ingot, config)
        loop = EngineLoop(Engine(runner, ingot.tokenizer, config, cost=cost, keep_cost=keep))
    else:
        loop = EngineLoop(Engine(runner, ingot.tokenizer, config))
    return Model(ingot, loop, generation_config=generation_config)


def _costs(
    runner: Executor, weights: Weights, ingot: Ingot, config: EngineConfig
) -> tuple[CostModel, Callable[[CostModel], None]]:
    """Return what steps cost, kept or else measured, and what keeps it at the end."""
    path = costs_path(
        ingot.digest,
        executor=type(runner).__name__,
        weights=weights,
        threads=config.threads,
        kv_cache=config.kv_cache_dtype,
    )
    cost = read_costs(path)
    if cost is None:
        cost = measure_costs(
            runner,
            max_step_tokens=config.max_step_tokens,
            max_sequences=config.max_sequences,
            max_context=config.max_context or ingot.config.max_position_embeddings,
        )
        keep_costs(path, cost)
    return cost, partial(keep_costs, path)


def unmet(model: Model, objective: Objective) -> str | None:
    """Return why nothing can meet an objective on this machine, with the best that it can do.

    Args:
        model: Loaded with ``objectives``.
        objective: It.

    Returns:
        A sentence; None if a short prompt alone can meet it.
    """
    best = model.loop.best_objective(SHORT_PROMPT)
    slower = [
        f"{name} {1e3 * own:.3g} ms"
        for name, own, limit in (
            ("ttft", best.ttft_s, objective.ttft_s),
            ("itl", best.itl_s, objective.itl_s),
        )
        if own is not None and limit is not None and own > limit
    ]
    if not slower:
        return None
    return (
        f"nothing can meet the objective {objective}: on this machine a prompt of "
        f"{SHORT_PROMPT} tokens alone takes {' and '.join(slower)}; nearly all requests will be "
        "refused"
    )


def _trusted(keys: Sequence[PathLike], signature: PathLike | None = None) -> TrustedKeys | None:
    """Read public keys; without any, no signature is required."""
    if not keys:
        return None
    return TrustedKeys.read([Path(key) for key in keys], Path(signature) if signature else None)


def serve(  # noqa: PLR0913 (all but one have defaults)
    model: Model,
    config: ServerConfig | None = None,
    *,
    listener: socket.socket | None = None,
    further: Mapping[str, Model] | None = None,
    executor: ExecutorName = "auto",
    weights: Weights = "stored",
    engine: EngineConfig | None = None,
    signed_by: Sequence[PathLike] = (),
    cost: CostConfig | None = None,
    kv_events: KvEventsConfig | None = None,
    **settings: Any,
) -> Server:
    """Return a server for loaded models.

    ``run`` serves in the foreground until Ctrl-C; ``with serve(model, port=0) as server`` serves
    from a thread, at ``server.url``, until the block ends.

    Args:
        model: The first model.
        config: Address, limits and timeouts; the defaults if it is not given.
        listener: A socket from ``listen(config)``, for a caller that took the port earlier.
        further: More models by the names that clients use.
        executor: Runs ingots that are loaded while the server runs.
        weights: Format of their weights in memory, see ``load``.
        engine: Limits of their engines.
        signed_by: PEM files of public keys, of which one must have signed each of those; with none,
            no signature is looked for. ``load`` takes them for the first ones.
        cost: Power and prices of the machine, from which the cost of each request follows.
        kv_events: Where to publish what the prefix caches hold; by default nowhere.
        settings: Fields of ``ServerConfig`` that override ``config``, such as ``port=8080``.

    Raises:
        UsageError: a setting is unknown or out of range.
        ServeError: the port is in use, or the address is public and that is not allowed.
    """
    # Half a second that generating without HTTP need not wait.
    from ingot.server import Server, ServerConfig

    def load_another(path: Path, chosen: Weights) -> tuple[Ingot, EngineLoop]:
        in_memory = weights if chosen == "stored" else chosen
        loaded = load(
            path,
            executor=executor,
            weights=in_memory,
            engine=engine,
            signed_by=signed_by,
            objectives=bool(config and (config.objective or config.model_objectives)),
        )
        return loaded.ingot, loaded.loop

    if settings:
        given = (config or ServerConfig()).model_dump() | settings
        config = check_tables(given, ServerConfig, UsageError, where="serve")
    more = [(name, another.ingot, another.loop) for name, another in (further or {}).items()]
    return Server(
        model.ingot,
        model.loop,
        config,
        listener=listener,
        further=more,
        loader=load_another,
        cost=cost,
        trainer=_TRAINER,
        kv_events=kv_events,
    )
