"""Replica of one model's engine, as Ray Serve runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import cached_property

from ingot.api.inference import load
from ingot.cluster.serving.messages import (
    EngineDescription,
    EngineOutput,
    EngineRequest,
    EngineSpec,
)
from ingot.errors import ArtifactError, ServeError
from ingot.inference import EngineStats, SamplingParams
from ingot.inference.request.grammar_compiler import GrammarCompiler
from ingot.server.engine.stream import OutputMailbox, OutputStream


class EngineReplica:
    """An engine that answers sequences over Ray; a deployment of Ray Serve wraps it.

    Args:
        spec: The ingot and how to run it.

    Raises:
        ArtifactError: the ingot is not the one that the other replicas serve, or as ``load``.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._model = load(
            spec.path,
            executor=spec.executor,  # type: ignore[arg-type]  # ``load`` checks it
            weights=spec.weights,
            engine=spec.engine,
            signed_by=spec.signed_by,
        )
        if self._model.digest != spec.digest:
            self._model.close()
            raise ArtifactError(
                f"has the digest {self._model.digest[:12]} on this machine, and "
                f"{spec.digest[:12]} where serving was begun",
                where=spec.path,
                fix="give every machine the same ingot at this path",
            )

    @cached_property
    def _mailbox(self) -> OutputMailbox:
        return OutputMailbox(self._model.loop.yield_cpu)

    @cached_property
    def _grammars(self) -> GrammarCompiler:
        return GrammarCompiler(self._model.ingot.tokenizer)

    async def describe(self) -> EngineDescription:
        """Return what requests are checked against."""
        loop = self._model.loop
        stats = loop.stats()
        return EngineDescription(
            self._model.digest, loop.max_context, loop.features, stats.blocks_total,
            stats.block_size,
        )  # fmt: skip

    async def stats(self) -> EngineStats:
        """Return its load and totals."""
        return self._model.loop.stats()

    async def weight_digests(self) -> dict[str, str]:
        """Return the SHA-256 of each tensor in its memory; see ``EngineLoop``."""
        return self._model.loop.weight_digests()

    async def answer(self, request: EngineRequest) -> AsyncIterator[EngineOutput]:
        """Yield the output of a sequence as it comes; when the caller leaves, it is cancelled.

        Raises:
            IngotError: the engine refuses it.
            ServeError: the engine has failed; another replica can continue the answer.
        """
        loop = self._model.loop
        with OutputStream(loop, self._mailbox, request.options) as stream:
            stream.submit(list(request.prompt_ids), self._params(request), request.written)
            while stream.open:
                for _, delta in await stream.take():
                    if delta.finish_reason == "error" and loop.failed is not None:
                        raise ServeError(f"failed ({loop.failed})", where="engine")
                    yield EngineOutput(delta, *stream.compute_s())

    def _params(self, request: EngineRequest) -> SamplingParams | None:
        if request.params is None or request.grammar is None:
            return request.params
        return replace(request.params, grammar=self._grammars.compiled_elsewhere(request.grammar))

    def close(self) -> None:
        """Stop the engine and release the weights."""
        self._model.close()

    def check_health(self) -> None:
        """Have Ray Serve start another replica in place of one whose engine has failed.

        Raises:
            ServeError: it has.
        """
        if self._model.loop.failed is not None:
            raise ServeError(f"failed ({self._model.loop.failed})", where="engine")
