from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.artifact import (
    Ingot,
    LoadedWeights,
    Provenance,
    Scheme,
    freeze,
    open_ingot,
    round_model,
)
from ingot.inference import Engine, EngineConfig, SamplingParams
from ingot.inference.executors.base import Executor, Failure, HiddenStates, ModelInput, SamplingRow
from ingot.inference.executors.native import NativeExecutor
from ingot.inference.executors.torch import TorchExecutor
from ingot.inference.request.grammar import Grammar, GrammarState
from ingot.inference.request.sequence import SampledToken
from ingot.model import ModelConfig, Tokenizer
from tests.random_model import freeze_random, random_weights

BAD = 200
BLOCK = 16
BLOCKS = 12
PARAMS = SamplingParams(
    max_tokens=24, temperature=1.0, seed=3, ignore_eos=True, logit_bias=((BAD, -100.0),)
)
GREEDY = SamplingRow(SamplingParams(temperature=0), 0, 1)
Make = Callable[[Ingot], Executor]


@pytest.fixture(scope="module")
def damaged(
    tmp_path_factory: pytest.TempPathFactory, config: ModelConfig, tokenizer: Tokenizer
) -> Iterator[Ingot]:
    """An untied model in which one token's embedding is NaN."""
    untied = replace(config, tie_word_embeddings=False)
    out: Path = tmp_path_factory.mktemp("failure") / "damaged.ingot"
    freeze_random(out, untied, tokenizer)
    with open_ingot(out) as ingot, pytest.MonkeyPatch.context() as patch:
        embedding = ingot.tensors["model.embed_tokens.weight"]
        bits = embedding.array().copy()
        bits[BAD] = 0x7FC0
        data = memoryview(bits.tobytes())
        broken = type(embedding)(embedding.name, embedding.dtype, embedding.shape, data)
        loaded = {**ingot.tensors, embedding.name: broken}
        patch.setattr(ingot, "load", lambda: LoadedWeights(loaded))
        yield ingot


def native(kv_cache: Any) -> Make:
    return lambda ingot: NativeExecutor(ingot, num_blocks=BLOCKS, kv_cache=kv_cache, threads=2)


def pytorch(ingot: Ingot) -> Executor:
    return TorchExecutor(ingot, num_blocks=BLOCKS, block_size=BLOCK)


@pytest.fixture(
    params=[native("bf16"), native("f32"), native("int8"), pytorch],
    ids=["bf16", "f32", "int8", "torch"],
)
def executor(request: pytest.FixtureRequest, damaged: Ingot) -> Iterator[Executor]:
    made: Executor = request.param(damaged)
    yield made
    made.close()


def test_one_bad_row_ends_its_own_sequence_alone(
    executor: Executor, tokenizer: Tokenizer, make_receiver: Any
) -> None:
    """FAULTS A9: scores that are not finite end one sequence, not the engine."""
    engine = Engine(executor, tokenizer, EngineConfig(num_blocks=BLOCKS, block_size=BLOCK))

    def answers(*prompts: list[int]) -> list[Any]:
        receivers = [make_receiver() for _ in prompts]
        for prompt, receiver in zip(prompts, receivers, strict=True):
            engine.submit(prompt, PARAMS, receiver)
        while engine.has_work:
            engine.step()
        return receivers

    good = ([1, 2, 3], list(range(5, 40)), [9])
    alone = answers(*good)
    assert [one.reason for one in alone] == ["length"] * 3
    wanted = [one.token_ids for one in alone]
    # Long enough to fill blocks that could be cached as a prefix, in one step and over several.
    long = [BAD, *range(5, 45)]
    for bad in ([BAD], long, long, [*range(5, 40), BAD]):
        failed, *others = answers(bad, *good)
        assert failed.reason == "error"
        assert failed.deltas[-1].error.startswith("model: some ")
        assert "not finite at position" in failed.deltas[-1].error
        assert [one.reason for one in others] == ["length"] * 3
        # Equal also where blocks that held the values which are not finite are used again.
        assert [one.token_ids for one in others] == wanted
        engine.check_integrity()
    pooled = make_receiver()
    engine.submit([4, BAD, 6], None, pooled)
    while engine.has_work:
        engine.step()
    assert pooled.reason == "error"
    assert engine.failed is None


OVERFLOWING = {
    "in attention": ("q_proj", "k_proj"),
    "in the feed-forward layers": ("gate_proj", "up_proj", "down_proj"),
    "in what attention adds": ("v_proj", "o_proj"),
}


@pytest.mark.parametrize(
    "made", [native("bf16"), native("int8"), pytorch], ids=["bf16 cache", "int8 cache", "torch"]
)
@pytest.mark.parametrize("kind", ["bf16", "int8"])
@pytest.mark.parametrize("large", OVERFLOWING.values(), ids=OVERFLOWING)
def test_finite_weights_that_overflow_end_requests_and_not_the_engine(
    large: tuple[str, ...],
    kind: Any,
    made: Make,
    config: ModelConfig,
    tokenizer: Tokenizer,
    make_receiver: Any,
    tmp_path: Path,
) -> None:
    """FAULTS A9: every weight is a number, and what is computed of them is not."""
    plain = replace(config, qk_norm="none")
    weights = {
        name: values * np.float32(1e37 if any(part in name for part in large) else 1)
        for name, values in random_weights(plain).items()
    }
    assert all(np.isfinite(values).all() for values in weights.values())
    out = tmp_path / "overflowing.ingot"
    quantized = round_model(weights, plain, Scheme("int8")) if kind == "int8" else None
    made_of = {"provenance": Provenance(), "quantized": quantized}
    freeze(weights, plain, tokenizer, out, **made_of).close()
    with open_ingot(out) as ingot:
        executor = made(ingot)
        engine = Engine(executor, tokenizer, EngineConfig(num_blocks=BLOCKS, block_size=BLOCK))
        for prompt in ([1, 2, 3], list(range(5, 40)), [9]):
            receiver = make_receiver()
            engine.submit(prompt, PARAMS, receiver)
            while engine.has_work:
                engine.step()
            assert receiver.reason == "error", receiver.token_ids
            assert receiver.deltas[-1].error.startswith("model: some ")
            assert "not finite at position" in receiver.deltas[-1].error
            engine.check_integrity()
        assert engine.failed is None
        executor.close()


def test_a_failure_is_an_entry_of_its_own_input(executor: Executor) -> None:
    """FAULTS A9: the same at the executor, for every kind of input."""
    nothing = SamplingRow(PARAMS, 0, 1, mask=np.zeros(16, np.uint32))
    results = executor.step(
        [
            ModelInput([BAD], 0, [0], GREEDY),
            ModelInput([1], 0, [1], GREEDY),
            ModelInput([2, BAD, 3], 0, [2], GREEDY, (GREEDY, GREEDY)),
            ModelInput([BAD, 1], 0, [3], None, hidden=True),
            ModelInput([1, 2], 0, [4], None, hidden=True),
            ModelInput([1], 0, [5], nothing),
            ModelInput([1, 2], 0, [6], None),
        ]
    )
    kinds = [Failure, SampledToken, Failure, Failure, HiddenStates, Failure, type(None)]
    assert [type(result) for result in results] == kinds
    assert isinstance(results[5], Failure)
    assert results[5].reason == "grammar: allows no token at position 1"


def test_prefill_that_is_not_finite_is_told_before_it_can_be_cached(executor: Executor) -> None:
    """FAULTS A9: where nothing is asked, a failure still is an entry."""
    [result] = executor.step([ModelInput([BAD, *range(15)], 0, [0], None)])
    assert isinstance(result, Failure)


class Panic(BaseException):
    """Like the panics of libraries written in Rust, which are not an ``Exception``."""


class BadState(GrammarState):
    """A grammar's state that raises in one of its methods, at the second call."""

    def __init__(self, method: str, error: type[BaseException]) -> None:
        self.method, self.error, self.calls = method, error, 0

    def mask(self) -> np.ndarray:
        self.check("mask")
        return np.full(10, 0xFFFFFFFF, np.uint32)

    def accept(self, token_id: int) -> bool:
        self.check("accept")
        return token_id >= 0

    def rollback(self, count: int) -> None:
        assert count >= 0
        self.check("rollback")

    @property
    def complete(self) -> bool:
        self.check("complete")
        return False

    def check(self, method: str) -> None:
        self.calls += method == self.method
        if self.calls > 1:
            raise self.error("a fault in a library")


class BadGrammar(Grammar):
    def __init__(self, method: str, error: type[BaseException]) -> None:
        self.method, self.error = method, error

    def start(self) -> GrammarState:
        if self.method == "start":
            raise self.error("a fault in a library")
        return BadState(self.method, self.error)


@pytest.mark.parametrize("method", ["start", "mask", "accept", "complete", "rollback"])
@pytest.mark.parametrize("error", [RuntimeError, MemoryError, Panic])
def test_an_error_in_the_work_of_one_sequence_ends_it_alone(
    ingot: Ingot, make_receiver: Any, method: str, error: type[BaseException]
) -> None:
    """FAULTS A9: neither scores nor a fault in a grammar of one request end the engine."""
    config = EngineConfig(num_blocks=64, block_size=BLOCK, speculation=4)
    engine = Engine(
        NativeExecutor(ingot, num_blocks=64, block_size=BLOCK, threads=1), ingot.tokenizer, config
    )
    params = SamplingParams(max_tokens=60, temperature=0)
    bad = replace(params, grammar=BadGrammar(method, error))
    first, alone, last = make_receiver(), make_receiver(), make_receiver()
    prompt = [5, 6, 7, 8] * 4  # repeats, so that there are draft tokens to roll back
    engine.submit(prompt, params, first)
    engine.submit(prompt, bad, alone)
    engine.submit(prompt, params, last)
    while engine.has_work:
        engine.step()
        engine.check_integrity()
    assert alone.reason == "error"
    assert alone.deltas[-1].error == (
        "engine: internal error in this request; the log has the details"
    )
    assert first.reason in ("length", "stop")
    assert first.token_ids == last.token_ids
    assert engine.failed is None
    engine.close()
