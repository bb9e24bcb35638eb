from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.artifact import Ingot, widen_to_float32
from ingot.errors import UsageError
from ingot.inference import Engine, EngineConfig, SamplingParams
from ingot.inference.executors.base import HiddenStates, ModelInput, SamplingRow
from ingot.inference.executors.torch import TorchExecutor
from ingot.inference.request.sequence import SampledToken
from ingot.model import ModelConfig, Tokenizer
from ingot.model.transformer import Transformer

BLOCK = 4
GREEDY = SamplingRow(SamplingParams(temperature=0, logprobs=20), 0, 0)


@pytest.fixture(scope="module")
def plain(ingot: Ingot) -> Transformer:
    """The module alone, without cache or engine, in float32."""
    module = Transformer(ingot.config)
    module.load_state_dict(
        {
            name: torch.from_numpy(widen_to_float32(tensor.array()))
            for name, tensor in ingot.tensors.items()
        }
    )
    return module


@pytest.fixture(scope="module")
def scores(plain: Transformer, tokenizer: Tokenizer) -> Callable[[list[int]], torch.Tensor]:
    """Log-probabilities after the last of some tokens, by one full forward pass."""

    @torch.inference_mode()
    def score(tokens: list[int]) -> torch.Tensor:
        hidden = plain(torch.tensor([tokens]))[0, -1]
        return plain.logits(hidden)[: tokenizer.vocab_size].log_softmax(-1)

    return score


@pytest.fixture(scope="module")
def states(plain: Transformer) -> Callable[[list[int]], np.ndarray]:
    """The last hidden states of some tokens, by one full forward pass."""

    @torch.inference_mode()
    def run(tokens: list[int]) -> np.ndarray:
        return np.asarray(plain(torch.tensor([tokens]))[0].numpy())

    return run


cuts = st.lists(st.integers(1, 9), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.lists(cuts, min_size=1, max_size=5))
def test_any_mix_of_chunks_gives_the_scores_of_the_full_forward(
    ingot: Ingot, scores: Any, states: Any, data: st.DataObject, plans: list[list[int]]
) -> None:
    executor = TorchExecutor(ingot, num_blocks=100, block_size=BLOCK)
    # Foreign keys and values lie in every block, as they do after a while of service.
    for cache in (*executor._keys, *executor._values):
        cache.fill_(7.0)
    token = st.integers(0, ingot.tokenizer.vocab_size - 1)
    tokens = [data.draw(st.lists(token, min_size=sum(plan), max_size=sum(plan))) for plan in plans]
    blocks = iter(data.draw(st.permutations(range(100))))
    tables = [[next(blocks) for _ in range(-(-sum(plan) // BLOCK))] for plan in plans]
    done = [0] * len(plans)
    pending = [list(plan) for plan in plans]
    while any(pending):
        ready = [who for who, plan in enumerate(pending) if plan]
        chosen = data.draw(st.lists(st.sampled_from(ready), min_size=1, unique=True))
        inputs = []
        for who in chosen:
            count = pending[who].pop(0)
            ids = tokens[who][done[who] : done[who] + count]
            asks = data.draw(st.integers(-1, count))
            hidden = asks < 0
            earlier = (GREEDY,) * (asks - 1)
            row = GREEDY if asks > 0 else None
            inputs.append(ModelInput(ids, done[who], tables[who], row, earlier, hidden))
            done[who] += count
        results = executor.step(inputs)
        for who, model_input, result in zip(chosen, inputs, results, strict=True):
            end = model_input.start + len(model_input.token_ids)
            if model_input.hidden:
                assert isinstance(result, HiddenStates)
                wanted = states(tokens[who][:end])[model_input.start :]
                assert result.states.dtype == np.float32
                assert np.allclose(result.states, wanted, atol=1e-4)
            elif model_input.sampling is None:
                assert result is None
            else:
                assert isinstance(result, SampledToken)
                assert len(result.verified) == len(model_input.verify_rows)
                for back, drawn in enumerate(reversed([*result.verified, result])):
                    check(drawn, scores(tokens[who][: end - back]))


def check(drawn: SampledToken, wanted: torch.Tensor) -> None:
    assert drawn.logprob is not None
    assert len(drawn.logprob.top) == 20
    for token_id, logprob in drawn.logprob.top:
        assert logprob == pytest.approx(wanted[token_id].item(), abs=1e-4)
    assert wanted[drawn.token_id].item() == pytest.approx(wanted.max().item(), abs=1e-4)


def answers(
    ingot: Ingot, params: list[SamplingParams], num_blocks: int, **limits: int
) -> tuple[list[list[int]], int]:
    """Run a prompt for each of ``params``; return the answers and how many blocks were used."""
    executor = TorchExecutor(ingot, num_blocks=num_blocks, block_size=BLOCK)
    config = EngineConfig(num_blocks=num_blocks, block_size=BLOCK, **limits)
    engine = Engine(executor, ingot.tokenizer, config)
    prompts = [ingot.tokenizer.encode("def area(width"[: 3 + 2 * n]) for n in range(len(params))]
    sequences = [
        engine.submit(prompt, one, lambda _: None)
        for prompt, one in zip(prompts, params, strict=True)
    ]
    while engine.step():
        engine.check_integrity()
    assert engine.stats().blocks_free == num_blocks
    return [sequence.output_ids for sequence in sequences], engine.stats().generated_tokens


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_neither_batch_nor_preemption_changes_an_answer(ingot: Ingot, temperature: float) -> None:
    params = [
        SamplingParams(max_tokens=30, temperature=temperature, seed=seed, ignore_eos=True)
        for seed in range(5)
    ]
    plenty, _ = answers(ingot, params, 200)
    scarce, _ = answers(ingot, params, 12, max_step_tokens=7, max_sequences=5)
    alone, _ = answers(ingot, params, 200, max_sequences=1)
    assert plenty == scarce == alone
    assert [len(ids) for ids in plenty] == [30] * 5


def continues_utf8(ingot: Ingot, answer: list[int]) -> bool:
    """Whether an answer is UTF-8 but for a last character that is not complete."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(b"".join(map(ingot.tokenizer.token_bytes, answer)))
    except UnicodeDecodeError:
        return False
    return ingot.tokenizer.token_bytes(answer[-1]) != b"" or decoder.getstate()[0] == b""


def test_greedy_answers_are_those_of_the_full_forward(ingot: Ingot, scores: Any) -> None:
    (got,), _ = answers(ingot, [SamplingParams(max_tokens=20, temperature=0, ignore_eos=True)], 50)
    tokens, answer = ingot.tokenizer.encode("def"), list[int]()
    for token in got:
        ranked = scores(tokens).argsort(descending=True, stable=True).tolist()
        assert token == next(one for one in ranked if continues_utf8(ingot, [*answer, one]))
        tokens.append(token)
        answer.append(token)


def test_only_tokens_that_the_tokenizer_knows_are_drawn(ingot: Ingot) -> None:
    assert ingot.config.vocab_size > ingot.tokenizer.vocab_size
    params = [SamplingParams(max_tokens=100, temperature=10.0, seed=n) for n in range(5)]
    drawn = {token for ids in answers(ingot, params, 200)[0] for token in ids}
    assert max(drawn) < ingot.tokenizer.vocab_size


def test_weights_are_memory_that_cannot_be_written(ingot: Ingot) -> None:
    executor = TorchExecutor(ingot, num_blocks=1)
    regions = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        low, high, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()  # type: ignore[union-attr]
        regions.append((int(low, 16), int(high, 16), rights))
    for name, weight in executor._transformer.named_parameters():
        first, last = weight.data_ptr(), weight.data_ptr() + weight.nbytes - 1
        for address in (first, last):
            rights = next(rights for low, high, rights in regions if low <= address < high)
            assert rights.startswith("r--"), name


def test_weights_in_a_format_the_processor_computes_in_are_not_copied(
    ingot: Ingot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    loaded = ingot.load()
    monkeypatch.setattr(ingot, "load", lambda: loaded)
    executor = TorchExecutor(ingot, num_blocks=8, block_size=BLOCK)
    for name, weight in executor._transformer.named_parameters():
        assert weight.dtype == torch.bfloat16
        assert weight.data_ptr() == loaded[name].array().ctypes.data
    drawn = executor.step([ModelInput([1, 2, 3], 0, [0], GREEDY), ModelInput([4], 0, [1], GREEDY)])
    assert all(drawn)


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(ingot: Ingot, device: str) -> None:
    with pytest.raises(UsageError, match=device):
        TorchExecutor(ingot, num_blocks=1, device=device)


def test_the_default_cache_is_the_engines(ingot: Ingot, config: ModelConfig) -> None:
    executor = TorchExecutor(ingot, block_size=32)
    assert executor.num_blocks == EngineConfig(block_size=32).blocks_for(config)
    Engine(executor, ingot.tokenizer, EngineConfig(block_size=32))


def test_many_rows_are_scored_some_at_a_time(ingot: Ingot, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = TorchExecutor(ingot, num_blocks=40, block_size=BLOCK)
    tokens, table = list(range(1, 31)), list(range(10))
    rows = [GREEDY._replace(forced_token=token) for token in tokens[1:]]
    inputs = [
        ModelInput(tokens, 0, table, GREEDY, tuple(rows)),
        ModelInput([5], 0, [20], None),
        ModelInput([6], 0, [21], GREEDY),
    ]
    whole = executor.step(inputs)
    monkeypatch.setattr("ingot.inference.executors.torch._ROWS_AT_ONCE", 7)
    pieces = executor.step(inputs)
    for one, other in zip(whole, pieces, strict=True):
        if not isinstance(one, SampledToken) or not isinstance(other, SampledToken):
            assert one is other is None
            continue
        for a, b in zip([*one.verified, one], [*other.verified, other], strict=True):
            assert a.token_id == b.token_id
            assert a.logprob is not None
            assert b.logprob is not None
            assert a.logprob.logprob == pytest.approx(b.logprob.logprob, abs=1e-5)
    assert isinstance(whole[0], SampledToken)
    assert [one.token_id for one in whole[0].verified] == tokens[1:]


@pytest.mark.parametrize("native_bfloat16", [False, True])
def test_the_weights_in_memory_have_the_sealed_digests(
    ingot: Ingot, monkeypatch: pytest.MonkeyPatch, native_bfloat16: bool
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: native_bfloat16)
    executor = TorchExecutor(ingot, num_blocks=1, block_size=BLOCK)
    sealed = {name: record.sha256 for name, record in ingot.manifest.tensors.items()}
    assert executor.weight_digests() == sealed
    name = "model.norm.weight"
    changed = executor._transformer.get_parameter(name).clone()
    changed[0] += 1
    executor._transformer.model.norm.weight = torch.nn.Parameter(changed, requires_grad=False)
    now = executor.weight_digests()
    assert {one for one in sealed if now[one] != sealed[one]} == {name}
