"""Sequences on replicas that are lost: real engines in this process, and no Ray."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from ingot.artifact import Ingot, Provenance, freeze, open_ingot
from ingot.cluster.serving.messages import EngineOutput, EngineRequest, EngineSpec, routing_text
from ingot.cluster.serving.replica import EngineReplica
from ingot.cluster.serving.replicas import ReplicaCount, parse_replicas
from ingot.cluster.serving.replicated_loop import ReplicaLost, ReplicatedLoop
from ingot.errors import ArtifactError, ServeError, UsageError
from ingot.inference import (
    EngineConfig,
    EngineStats,
    Objective,
    OutputDelta,
    QueueFull,
    RequestOptions,
    SamplingParams,
)
from ingot.model import ModelConfig, Tokenizer
from ingot.model.rope import RopeConfig

TEXT = "def area(width, height):\n    return width * height\n" * 4 + "the quick brown fox é " * 8
ENGINE = EngineConfig(threads=1, max_sequences=8, num_blocks=256)
DEADLINE_S = 120.0


@pytest.fixture(scope="module")
def ingot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingot]:
    config = ModelConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=256,
        rope=RopeConfig(50_000.0),
    )
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in config.tensor_shapes().items()
    }
    out: Path = tmp_path_factory.mktemp("replicas") / "tiny.ingot"
    freeze(weights, config, Tokenizer.train([TEXT], 300), out, provenance=Provenance()).close()
    with open_ingot(out) as opened:
        yield opened


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """The one event loop that the engines wake."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def engines(ingot: Ingot) -> Iterator[list[EngineReplica]]:
    spec = EngineSpec(str(ingot.path), ingot.digest, ENGINE)
    engines = [EngineReplica(spec) for _ in range(3)]
    yield engines
    for engine in engines:
        engine.close()


class FailingReplicas:
    """Replicas of which calls are lost after so many outputs, at random."""

    def __init__(self, engines: list[EngineReplica], losses: float, seed: int) -> None:
        self._engines = engines
        self._losses = losses
        self._chance = random.Random(seed)
        self.lost = 0
        self.closed = False

    async def answer(self, request: EngineRequest) -> AsyncIterator[EngineOutput]:
        engine = self._chance.choice(self._engines)
        lost_after = self._chance.randrange(6) if self._chance.random() < self._losses else None
        count = 0
        async with aclosing(engine.answer(request)) as outputs:  # type: ignore[type-var]
            async for output in outputs:
                if count == lost_after:
                    self.lost += 1
                    raise ReplicaLost("the process is gone")
                yield output
                count += 1

    async def stats(self) -> list[EngineStats]:
        return [await engine.stats() for engine in self._engines]

    async def weight_digests(self) -> list[dict[str, str]]:
        return [await engine.weight_digests() for engine in self._engines]

    def close(self, deadline_s: float) -> None:
        del deadline_s
        self.closed = True


class Answer:
    def __init__(self) -> None:
        self.deltas: list[OutputDelta] = []
        self.ended = asyncio.Event()

    def __call__(self, delta: OutputDelta) -> None:
        assert not self.ended.is_set(), "a delta after the last one"
        self.deltas.append(delta)
        if delta.finish_reason is not None:
            self.ended.set()

    @property
    def said(self) -> tuple[str, list[int], list[float], str | None, str | None]:
        """Text, tokens, log-probabilities, reason of the end, error."""
        return (
            "".join(delta.text for delta in self.deltas),
            [token for delta in self.deltas for token in delta.token_ids],
            [entry.logprob for delta in self.deltas for entry in delta.logprobs],
            self.deltas[-1].finish_reason,
            self.deltas[-1].error,
        )


async def loop_on(replicas: FailingReplicas, ingot: Ingot, most: int = 1000) -> ReplicatedLoop:
    description = await replicas._engines[0].describe()
    return ReplicatedLoop(replicas, ingot.tokenizer, description, most)


def requests(count: int) -> list[tuple[list[int], SamplingParams]]:
    chance = random.Random(7)
    return [
        (
            [chance.randrange(7, 280) for _ in range(chance.randrange(1, 60))],
            SamplingParams(
                max_tokens=chance.randrange(1, 60),
                temperature=chance.choice([0.0, 0.7, 1.2]),
                seed=number,
                logprobs=0,
                frequency_penalty=chance.choice([0.0, 0.5]),
                stop=chance.choice([(), ("th", "e")]),
            ),
        )
        for number in range(count)
    ]


async def answered(
    loop: ReplicatedLoop, asked: list[tuple[list[int], SamplingParams]]
) -> list[tuple[str, list[int], list[float], str | None, str | None]]:
    answers = [Answer() for _ in asked]
    for (prompt, params), answer in zip(asked, answers, strict=True):
        loop.submit(prompt, params, answer)
    async with asyncio.timeout(DEADLINE_S):
        for answer in answers:
            await answer.ended.wait()
    return [answer.said for answer in answers]


def test_answers_are_the_same_however_many_replicas_are_lost(
    ingot: Ingot, engines: list[EngineReplica], runner: asyncio.Runner
) -> None:
    async def run() -> None:
        asked = requests(120)
        sound = FailingReplicas(engines[:1], 0.0, 1)
        wanted = await answered(await loop_on(sound, ingot), asked)
        failing = FailingReplicas(engines, 0.6, 2)
        loop = await loop_on(failing, ingot)
        assert await answered(loop, asked) == wanted
        assert failing.lost > 20
        assert loop.continued == failing.lost
        assert {reason for *_, reason, _ in wanted} == {"stop", "length"}

    runner.run(run())


def test_an_answer_without_a_seed_keeps_the_one_that_it_began_with(
    ingot: Ingot, engines: list[EngineReplica], runner: asyncio.Runner
) -> None:
    seen: list[EngineRequest] = []

    class Recording(FailingReplicas):
        async def answer(self, request: EngineRequest) -> AsyncIterator[EngineOutput]:
            seen.append(request)
            async with aclosing(super().answer(request)) as outputs:  # type: ignore[type-var]
                async for output in outputs:
                    if len(seen) > 3:
                        yield output
                        continue
                    # One token alone: a busy machine delivers the whole answer at once.
                    ids, logprobs = output.delta.token_ids[:1], output.delta.logprobs[:1]
                    cut = output.delta._replace(
                        text="", token_ids=ids, logprobs=logprobs, finish_reason=None
                    )
                    yield output._replace(delta=cut)
                    raise ReplicaLost("the process is gone")

    async def run() -> None:
        failing = Recording(engines, 0.0, 3)
        params = SamplingParams(max_tokens=200, temperature=1.0, prompt_logprobs=0, ignore_eos=True)
        await answered(await loop_on(failing, ingot), [([9, 8, 7], params)])

    runner.run(run())
    assert len(seen) == 4
    assert seen[-1].written
    assert len({one.params.seed for one in seen if one.params}) == 1
    for one in seen:
        assert one.params is not None
        assert (one.params.prompt_logprobs is None) == bool(one.written)


def test_a_request_that_every_replica_is_lost_on_ends_with_an_error(
    ingot: Ingot,
    engines: list[EngineReplica],
    runner: asyncio.Runner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ingot.cluster.serving.replicated_loop._LONGEST_PAUSE_S", 0.0)

    class Poisoned(FailingReplicas):
        async def answer(self, request: EngineRequest) -> AsyncIterator[EngineOutput]:
            self.lost += 1
            raise ReplicaLost(f"{request.prompt_ids} ended it")
            yield

    async def run() -> None:
        poisoned = Poisoned(engines, 1.0, 4)
        loop = await loop_on(poisoned, ingot)
        ((*_, reason, error),) = await answered(loop, [([5], SamplingParams(seed=1))])
        assert (reason, poisoned.lost) == ("error", 8)
        assert "8 replicas were lost in turn without one more token" in (error or "")

    runner.run(run())


def test_a_cancelled_sequence_leaves_its_engine(
    ingot: Ingot, engines: list[EngineReplica], runner: asyncio.Runner
) -> None:
    async def run() -> None:
        loop = await loop_on(FailingReplicas(engines, 0.0, 5), ingot)
        params = SamplingParams(max_tokens=200, seed=1, ignore_eos=True)
        reason = None
        async with asyncio.timeout(DEADLINE_S):
            # On a busy machine an engine may end its answer before this task runs again.
            while reason != "cancelled":
                answer = Answer()
                sequence = loop.submit([5, 6], params, answer)
                while not answer.deltas:
                    await asyncio.sleep(0.001)
                loop.cancel(sequence)
                await answer.ended.wait()
                reason = answer.deltas[-1].finish_reason
                assert reason in ("cancelled", "length")
            while any([(await engine.stats()).running for engine in engines]):
                await asyncio.sleep(0.01)

    runner.run(run())


def test_what_no_replica_could_answer_is_refused_at_once(
    ingot: Ingot, engines: list[EngineReplica], runner: asyncio.Runner
) -> None:
    async def run() -> None:
        replicas = FailingReplicas(engines, 0.0, 6)
        loop = await loop_on(replicas, ingot, most=1)
        params = SamplingParams(max_tokens=100, seed=1, ignore_eos=True)
        answer = Answer()
        for prompt, options, error in (
            ([], RequestOptions(), "prompt"),
            ([100_000], RequestOptions(), "prompt"),
            (list(range(7, 7 + 250)) * 2, RequestOptions(), "the context holds 256"),
            ([5], RequestOptions(objective=Objective(ttft_s=1.0)), "objective"),
        ):
            with pytest.raises(UsageError, match=error):
                loop.submit(prompt, params, answer, options)
        sequence = loop.submit([5], params, answer)
        with pytest.raises(QueueFull, match="1 sequences are open already"):
            loop.submit([5], params, answer)
        loop.cancel(sequence)
        await asyncio.to_thread(loop.close, 10.0)
        assert replicas.closed
        with pytest.raises(ServeError, match="are closing"):
            loop.submit([5], params, answer)

    runner.run(run())


def test_figures_and_digests_are_of_all_replicas(
    ingot: Ingot, engines: list[EngineReplica], runner: asyncio.Runner
) -> None:
    async def run() -> None:
        loop = await loop_on(FailingReplicas(engines, 0.0, 6), ingot)
        async with asyncio.timeout(DEADLINE_S):
            while not loop.stats().blocks_total:
                await asyncio.sleep(0.01)
        assert loop.stats().blocks_total == 3 * 256
        assert loop.stats().block_size == 16
        digests = await asyncio.to_thread(loop.weight_digests)
        assert digests == {name: one.sha256 for name, one in ingot.manifest.tensors.items()}

    runner.run(run())


def test_a_replica_refuses_another_ingot(ingot: Ingot) -> None:
    with pytest.raises(ArtifactError, match="give every machine the same ingot"):
        EngineReplica(EngineSpec(str(ingot.path), "0" * 64, ENGINE))


def test_prompts_share_what_the_router_compares_where_they_share_prefixes() -> None:
    options = RequestOptions()
    one, other = routing_text([1, 2, 3, 60_000], options), routing_text([1, 2, 3, 9], options)
    assert one[:-1] == other[:-1]
    assert one != other
    one.encode()  # no half of a surrogate pair
    assert len({routing_text([n], options) for n in range(0xD7F0, 0xE010)}) == 0xE010 - 0xD7F0
    assert routing_text([1, 2], RequestOptions(tenant="a"))[0:4] != one[0:4]
    assert routing_text([1, 2], RequestOptions(cache_salt="a"))[0:4] != one[0:4]


def test_a_number_of_replicas_is_read() -> None:
    assert parse_replicas("2") == ReplicaCount(2, 2)
    assert parse_replicas("2..20") == ReplicaCount(2, 20)
    for text in ("", "0", "3..2", "two", "-1", "2..", "1e3", "99999"):
        with pytest.raises(UsageError, match="not a number of replicas"):
            parse_replicas(text)
