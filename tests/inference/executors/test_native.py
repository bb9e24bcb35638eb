from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.artifact import Ingot, widen_to_float32
from ingot.errors import UsageError
from ingot.inference import Engine, EngineConfig, SamplingParams
from ingot.inference.executors.base import ModelInput, SamplingRow
from ingot.inference.executors.native import NativeExecutor
from ingot.model.transformer import Transformer
from ingot.native import kernels

BLOCK = 16
GREEDY = SamplingRow(SamplingParams(temperature=0), 0, 0)


def table_for(count: int, first: int = 0) -> list[int]:
    return [first + index for index in range(-(-count // BLOCK))]


@pytest.fixture(scope="module")
def plain(ingot: Ingot) -> Transformer:
    module = Transformer(ingot.config)
    tensors = {name: widen_to_float32(t.array()) for name, t in ingot.tensors.items()}
    module.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    return module


@pytest.fixture(params=kernels())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("INGOT_ISA", request.param)
    return str(request.param)


@pytest.fixture
def executor(ingot: Ingot) -> Iterator[NativeExecutor]:
    made = NativeExecutor(ingot, num_blocks=64, threads=2)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("weights", "kv_cache", "allowed"),
    [
        ("bf16", "f32", 1e-4),
        ("bf16", "bf16", 0.02),
        ("bf16", "int8", 0.02),
        ("int8", "bf16", 0.06),
    ],
)
def test_scores_are_those_of_the_torch_module(
    ingot: Ingot, plain: Transformer, isa: str, weights: Any, kv_cache: Any, allowed: float
) -> None:
    tokens = np.random.default_rng(1).integers(0, 300, 100).tolist()
    executor = NativeExecutor(ingot, num_blocks=8, weights=weights, kv_cache=kv_cache)
    assert executor.model.kernels == isa
    with torch.inference_mode():
        expected = plain.logits(plain(torch.tensor([tokens])))[0].numpy()
    spread = expected.std()
    table = table_for(100)
    for start, end in ((0, 1), (1, 40), (40, 41), (41, 100)):
        model_input = ModelInput(tokens[start:end], start, table, GREEDY)
        scores = executor.model.logits([model_input])[0]
        error = np.sqrt(np.mean((scores - expected[end - 1]) ** 2)) / spread
        # Where products of bfloat16 are an instruction, activations are rounded to it as well.
        assert error < (max(allowed, 0.01) if isa == "avx512bf16" else allowed)


@settings(max_examples=25, deadline=None)
@given(
    st.data(),
    st.sampled_from(["bf16", "int8", "int4"]),
    st.sampled_from(["bf16", "int8"]),
    st.sampled_from([None, 1, 30, 64]),
    st.sampled_from(kernels()),
)
def test_scores_do_not_depend_on_batch_or_cuts(
    ingot: Ingot, data: st.DataObject, weights: Any, kv_cache: Any, window: int | None, isa: str
) -> None:
    kinds = {"weights": weights, "kv_cache": kv_cache}
    windowed = replace(ingot, config=replace(ingot.config, sliding_window=window))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INGOT_ISA", isa)
        alone = NativeExecutor(windowed, num_blocks=8, threads=1, **kinds)
        crowd = NativeExecutor(windowed, num_blocks=64, threads=2, **kinds)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    lengths = data.draw(st.lists(st.integers(1, 100), min_size=1, max_size=5))
    texts = [rng.integers(0, 300, length).tolist() for length in lengths]
    blocks = rng.permutation(64).tolist()
    tables = [[blocks.pop() for _ in table_for(length)] for length in lengths]
    done = [0] * len(texts)
    while any(index < len(text) for index, text in zip(done, texts, strict=True)):
        open_ones = [who for who, text in enumerate(texts) if done[who] < len(text)]
        chosen = data.draw(st.lists(st.sampled_from(open_ones), min_size=1, unique=True))
        inputs = []
        for who in chosen:
            count = data.draw(st.integers(1, len(texts[who]) - done[who]))
            ids = texts[who][done[who] : done[who] + count]
            inputs.append(ModelInput(ids, done[who], tables[who], GREEDY))
            done[who] += count
        scores = crowd.model.logits(inputs)
        for who, row in zip(chosen, scores, strict=True):
            whole = ModelInput(texts[who][: done[who]], 0, table_for(done[who]), GREEDY)
            assert np.array_equal(row, alone.model.logits([whole])[0])


def test_two_engines_answer_alike_and_idle_costs_nothing(ingot: Ingot) -> None:
    engines = [
        Engine(
            NativeExecutor(ingot, num_blocks=64, threads=2),
            ingot.tokenizer,
            EngineConfig(num_blocks=64, block_size=BLOCK),
        )
        for _ in range(2)
    ]
    answers: list[list[int]] = [[], []]
    params = SamplingParams(max_tokens=20, temperature=1.0, seed=7, ignore_eos=True)
    for answer, engine in zip(answers, engines, strict=True):
        engine.submit(
            ingot.tokenizer.encode("def area"), params, lambda d, a=answer: a.extend(d.token_ids)
        )
    while any(len(answer) < 20 for answer in answers):
        for engine in engines:
            engine.step()
    assert answers[0] == answers[1]
    deadline, used = time.monotonic() + 300, 1.0
    while used >= 0.03:
        assert time.monotonic() < deadline, "its threads do not stop spinning"
        before = time.process_time()
        time.sleep(0.3)
        used = time.process_time() - before


NO_NUMBER = SamplingParams()
object.__setattr__(NO_NUMBER, "top_p", float("nan"))  # the class itself refuses it

BAD = [
    (ModelInput([300_000], 0, [0], GREEDY), "token 300000"),
    (ModelInput([-1], 0, [0], GREEDY), "token -1"),
    (ModelInput([1], 0, [64], GREEDY), "block 64"),
    (ModelInput([1], 0, [-1], GREEDY), "block -1"),
    (ModelInput([1] * 17, 0, [0], GREEDY), "needs 2 blocks"),
    (
        ModelInput([1], 128, [0] * 9, GREEDY),
        "1 tokens from position 128 on",
    ),
    (ModelInput([1], -1, [0], GREEDY), "from position -1"),
    (ModelInput([1], 2**62, [0], GREEDY), "position"),
    (ModelInput([], 0, [0], GREEDY), "no tokens"),
    (ModelInput([1], 0, [0], SamplingRow(NO_NUMBER, 0, 0)), "top_p"),
    (ModelInput([2**40], 0, [0], GREEDY), "input 0: field token_ids"),
    (ModelInput([1], 0, [0], SamplingRow(SamplingParams(), 2**64, 0)), "field seed"),
]


@pytest.mark.parametrize(("model_input", "message"), BAD)
def test_what_does_not_exist_is_refused(
    executor: NativeExecutor, model_input: ModelInput, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        executor.step([model_input])
    assert executor.step([ModelInput([1], 0, [0], GREEDY)])[0] is not None


def test_use_after_close_is_refused(ingot: Ingot) -> None:
    executor = NativeExecutor(ingot, num_blocks=4)
    executor.close()
    with pytest.raises(UsageError, match="closed"):
        executor.step([ModelInput([1], 0, [0], GREEDY)])


def test_unusable_arguments_are_refused(ingot: Ingot, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="multiple of 16"):
        NativeExecutor(ingot, block_size=4)
    with pytest.raises(UsageError, match="format of weights"):
        NativeExecutor(ingot, weights="fp8")  # type: ignore[arg-type]
    monkeypatch.setenv("INGOT_ISA", "z80")
    with pytest.raises(UsageError, match="z80"):
        NativeExecutor(ingot)
