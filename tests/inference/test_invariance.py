"""With real models: nothing that makes serving cheaper may change an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.artifact import Ingot
from ingot.errors import UsageError
from ingot.inference import Engine, EngineConfig, Grammar, OutputDelta, SamplingParams, TokenLogprob
from ingot.inference.executors.base import Executor, HiddenStates, ModelInput
from ingot.inference.executors.native import NativeExecutor
from ingot.inference.executors.torch import TorchExecutor
from ingot.inference.request.grammar_compiler import GrammarCompiler

BLOCKS, BLOCK = 40, 16


class Fewer:
    """An executor that is known to have fewer blocks than it has."""

    def __init__(self, executor: Executor, num_blocks: int) -> None:
        self.config, self.block_size = executor.config, executor.block_size
        self.features, self.step = executor.features, executor.step
        self.weight_digests, self.close = executor.weight_digests, executor.close
        self.num_blocks = num_blocks


Request = tuple[list[int], SamplingParams, int]  # prompt, parameters, step of its arrival

sampling = st.builds(
    SamplingParams,
    max_tokens=st.integers(1, 24),
    temperature=st.sampled_from([0.0, 0.3, 1.0]),
    top_k=st.sampled_from([0, 20]),
    top_p=st.sampled_from([1.0, 0.9]),
    typical_p=st.sampled_from([1.0, 0.8]),
    seed=st.integers(0, 3),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.3]),
    presence_penalty=st.sampled_from([0.0, 0.0, 0.5]),
    frequency_penalty=st.sampled_from([0.0, 0.0, 0.2]),
    logit_bias=st.sampled_from([(), (), ((5, 3.0), (9, -100.0))]),
    logprobs=st.sampled_from([None, 0, 3]),
    prompt_logprobs=st.sampled_from([None, None, 0, 2]),
    stop_token_ids=st.sampled_from([(), (7,)]),
    min_tokens=st.sampled_from([0, 0, 1]),
    include_stop_str_in_output=st.booleans(),
    bad_words=st.sampled_from([(), (), ("e", "the", "width")]),
    allowed_token_ids=st.sampled_from([None, None, tuple(range(0, 280, 3))]),
)
prompts = st.builds(
    lambda shared, own: [*range(7, 7 + shared), *own],
    st.sampled_from([0, 16, 20, 48]),
    st.lists(st.integers(0, 250), min_size=1, max_size=30),
)
requests = st.lists(st.tuples(prompts, sampling, st.integers(0, 12)), min_size=1, max_size=6)


limits = st.fixed_dictionaries(
    {
        "max_step_tokens": st.integers(6, 80),
        "max_sequences": st.integers(1, 6),
        "prefix_cache": st.booleans(),
        "speculation": st.sampled_from([0, 3]),
    }
)


@dataclass
class Runner:
    """Runs requests on a real model; each engine is a fresh one on the same executor."""

    ingot: Ingot
    executor: Executor
    make_receiver: Callable[[], Any]

    def run(self, asked: list[Request], num_blocks: int = BLOCKS, **limits: Any) -> list[Any]:
        config = EngineConfig(num_blocks=num_blocks, block_size=BLOCK, **limits)
        engine = Engine(Fewer(self.executor, num_blocks), self.ingot.tokenizer, config)
        receivers = [self.make_receiver() for _ in asked]
        clock = 0
        while clock < 13 or engine.has_work:
            for (prompt, params, arrives), receiver in zip(asked, receivers, strict=True):
                if arrives == clock:
                    engine.submit(prompt, params, receiver)
            engine.step()
            engine.check_integrity()
            clock += 1
            assert clock < 3000
        stats = engine.stats()
        assert stats.blocks_free == stats.blocks_total
        return receivers

    def alone(self, asked: list[Request]) -> list[Any]:
        return [self.run([one], max_sequences=1, prefix_cache=False)[0] for one in asked]


@pytest.fixture(scope="module")
def native(ingot: Ingot, make_receiver: Any) -> Iterator[Runner]:
    executor = NativeExecutor(ingot, num_blocks=BLOCKS, block_size=BLOCK, threads=2)
    yield Runner(ingot, executor, make_receiver)
    executor.close()


@pytest.fixture(scope="module")
def torch_model(ingot: Ingot, make_receiver: Any) -> Runner:
    executor = TorchExecutor(ingot, num_blocks=BLOCKS, block_size=BLOCK)
    return Runner(ingot, executor, make_receiver)


@pytest.fixture(scope="module")
def digits(ingot: Ingot) -> Grammar:
    return GrammarCompiler(ingot.tokenizer).compile("regex", r"([0-9]{2}[a-f ])+")


def scores(receiver: Any) -> list[TokenLogprob | None]:
    deltas: list[OutputDelta] = receiver.deltas
    return [one for delta in deltas for one in (*delta.prompt_logprobs, *delta.logprobs)]


@settings(max_examples=40, deadline=None)
@given(requests, limits, st.integers(8, BLOCKS), st.booleans())
def test_native_answers_are_the_same_bits_however_they_are_scheduled(
    native: Runner,
    digits: Grammar,
    requests: list[Request],
    limits: dict[str, Any],
    blocks: int,
    guided: bool,
) -> None:
    limits["max_sequences"] = min(limits["max_sequences"], limits["max_step_tokens"])
    if guided:
        prompt, params, arrives = requests[0]
        requests[0] = prompt, replace(params, grammar=digits), arrives
    wanted = native.alone(requests)
    got = native.run(requests, blocks, **limits)
    for one, other in zip(wanted, got, strict=True):
        assert (one.token_ids, one.text, one.reason) == (other.token_ids, other.text, other.reason)
        assert scores(one) == scores(other)


@settings(max_examples=40, deadline=None)
@given(prompts, sampling, st.integers(0, 23), st.booleans(), st.sampled_from([0, 3]))
def test_an_answer_that_another_engine_continues_is_the_same(
    native: Runner,
    digits: Grammar,
    prompt: list[int],
    params: SamplingParams,
    cut: int,
    guided: bool,
    speculation: int,
) -> None:
    params = replace(params, prompt_logprobs=None, stop=("th", "e\n"), presence_penalty=0.5)
    if guided:
        params = replace(params, grammar=digits)
    (whole,) = native.run([(prompt, params, 0)], speculation=speculation)
    deltas: list[OutputDelta] = whole.deltas
    sent = deltas[: min(cut, len(deltas) - 1)]
    written = [token for delta in sent for token in delta.token_ids]
    config = EngineConfig(num_blocks=BLOCKS, block_size=BLOCK, max_step_tokens=7, max_sequences=2)
    engine = Engine(Fewer(native.executor, BLOCKS), native.ingot.tokenizer, config)
    receiver = native.make_receiver()
    engine.submit(prompt, params, receiver, written=written)
    while engine.has_work:
        engine.step()
        engine.check_integrity()
    assert written + receiver.token_ids == whole.token_ids
    assert "".join(delta.text for delta in sent) + receiver.text == whole.text
    assert receiver.reason == whole.reason
    before = [one for delta in sent for one in delta.logprobs]
    assert before + scores(receiver) == scores(whole)


def test_what_cannot_be_continued_is_refused(native: Runner) -> None:
    engine = Engine(
        Fewer(native.executor, BLOCKS),
        native.ingot.tokenizer,
        EngineConfig(num_blocks=BLOCKS, block_size=BLOCK),
    )
    for params, written in (
        (SamplingParams(max_tokens=4), [5]),
        (SamplingParams(max_tokens=4, seed=1, prompt_logprobs=0), [5]),
        (SamplingParams(max_tokens=4, seed=1), [5, 6, 7, 8]),
        (SamplingParams(max_tokens=4, seed=1), [100_000]),
    ):
        with pytest.raises(UsageError, match="written"):
            engine.prepare([1, 2], params, lambda _: None, written=written)


@settings(max_examples=10, deadline=None)
@given(requests, limits, st.integers(8, BLOCKS))
def test_torch_answers_have_the_same_scores_however_they_are_scheduled(
    torch_model: Runner, requests: list[Request], limits: dict[str, Any], blocks: int
) -> None:
    limits["max_sequences"] = min(limits["max_sequences"], limits["max_step_tokens"])
    # Without a chance that rounding tips a draw: the same tokens, so the scores compare.
    requests = [
        (prompt, replace(params, temperature=0.0, logprobs=3), arrives)
        for prompt, params, arrives in requests
    ]
    wanted = torch_model.alone(requests)
    got = torch_model.run(requests, blocks, **limits)
    for one, other in zip(wanted, got, strict=True):
        assert one.token_ids == other.token_ids
        for a, b in zip(scores(one), scores(other), strict=True):
            assert (a and a.token_id) == (b and b.token_id)
            assert (a and a.logprob) == pytest.approx(b and b.logprob, abs=1e-4)


def test_a_prompts_scores_are_those_of_its_tokens(torch_model: Runner) -> None:
    prompt = [5, 6, 7, 8, 9, 10, 11, 12]
    (after,) = torch_model.run([(prompt, SamplingParams(max_tokens=1, temperature=0), 0)])
    # The token after the prompt stops nothing: it was not asked for.
    asked = SamplingParams(
        max_tokens=0, prompt_logprobs=2, temperature=0, stop_token_ids=tuple(after.token_ids)
    )
    for budget in (3, 100):
        (receiver,) = torch_model.run([(prompt, asked, 0)], max_step_tokens=budget, max_sequences=1)
        (last,) = receiver.deltas
        assert (last.token_ids, last.finish_reason) == ((), "length")
        assert last.prompt_logprobs[0] is None
        for position in range(1, len(prompt)):
            greedy = SamplingParams(max_tokens=1, logprobs=20, temperature=0, ignore_eos=True)
            (one,) = torch_model.run([(prompt[:position], greedy, 0)])
            likeliest = dict(one.deltas[0].logprobs[0].top)
            score = last.prompt_logprobs[position]
            assert score.token_id == prompt[position]
            assert len(score.top) == 2
            for token, logprob in score.top:
                assert logprob == pytest.approx(likeliest[token], abs=1e-4)
            if score.token_id in likeliest:
                assert score.logprob == pytest.approx(likeliest[score.token_id], abs=1e-4)


@pytest.mark.parametrize("name", ["native", "torch_model"])
def test_an_embedding_is_the_mean_of_the_last_hidden_states(
    name: str, request: pytest.FixtureRequest, ingot: Ingot
) -> None:
    runner: Runner = request.getfixturevalue(name)
    prompt = list(range(3, 40))
    table = list(range(BLOCKS))
    (whole,) = runner.executor.step([ModelInput(prompt, 0, table, None, hidden=True)])
    assert isinstance(whole, HiddenStates)
    for budget in (5, 512):
        config = EngineConfig(
            num_blocks=BLOCKS, block_size=BLOCK, max_step_tokens=budget, max_sequences=4
        )
        engine = Engine(runner.executor, ingot.tokenizer, config)
        engine.submit(prompt, SamplingParams(max_tokens=3), lambda _: None)
        receiver = runner.make_receiver()
        engine.enqueue(engine.prepare(prompt, None, receiver))
        while engine.has_work:
            engine.step()
            engine.check_integrity()
        (last,) = receiver.deltas
        assert (last.finish_reason, last.token_ids, last.text) == ("stop", (), "")
        assert last.embedding.dtype == np.float32
        assert np.allclose(last.embedding, whole.states.mean(axis=0), atol=1e-4)
        assert np.ptp(whole.states, axis=0).min() > 0.01, "any row would have done"


@pytest.mark.parametrize("asked", ["scores", "embedding"])
def test_what_is_preempted_within_its_prompt_starts_that_again(
    native: Runner, ingot: Ingot, asked: str
) -> None:
    said: list[Any] = []
    for crowded in (False, True):
        blocks = 10 if crowded else BLOCKS
        config = EngineConfig(
            num_blocks=blocks, block_size=BLOCK, max_step_tokens=6, max_sequences=2
        )
        engine = Engine(Fewer(native.executor, blocks), ingot.tokenizer, config)
        rival = SamplingParams(max_tokens=80, seed=1, ignore_eos=True)
        running = engine.submit([1, 2], rival, lambda _: None)
        while len(running.output_ids) < 42:
            engine.step()
        receiver = native.make_receiver()
        params = SamplingParams(max_tokens=4, seed=2, prompt_logprobs=1, ignore_eos=True)
        prompt = [position % 200 for position in range(100)]
        wanted = params if asked == "scores" else None
        sequence = engine.prepare(prompt, wanted, receiver)
        engine.enqueue(sequence)
        assert not sequence.may_reuse
        while engine.has_work:
            engine.step()
            engine.check_integrity()
        assert sequence.may_reuse == (asked == "scores")
        assert engine.stats().preemptions == crowded
        said.append((receiver.token_ids, scores(receiver), receiver.deltas[-1].embedding))
    assert said[0][:2] == said[1][:2]
    assert len(said[0][1]) == (100 if asked == "scores" else 0)
    if asked == "embedding":
        assert np.array_equal(said[0][2], said[1][2])
