"""What an answer may hold, with real models through both executors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ingot.artifact import Ingot
from ingot.inference import Engine, EngineConfig, SamplingParams
from ingot.inference.executors.base import Executor
from ingot.inference.executors.native import NativeExecutor
from ingot.inference.executors.torch import TorchExecutor

BLOCKS, BLOCK = 64, 16
Answer = Callable[..., Any]


@pytest.fixture(scope="module", params=[NativeExecutor, TorchExecutor], ids=["native", "torch"])
def executor(request: pytest.FixtureRequest, ingot: Ingot) -> Iterator[Executor]:
    made = request.param(ingot, num_blocks=BLOCKS, block_size=BLOCK, threads=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def answer(executor: Executor, ingot: Ingot, make_receiver: Any) -> Answer:
    """Answers to one prompt with several parameters, all in one batch."""

    def run(prompt: list[int], *params: SamplingParams, speculation: int = 0) -> list[Any]:
        config = EngineConfig(num_blocks=BLOCKS, block_size=BLOCK, speculation=speculation)
        engine = Engine(executor, ingot.tokenizer, config)
        receivers = [make_receiver() for _ in params]
        for one, receiver in zip(params, receivers, strict=True):
            engine.submit(prompt, one, receiver)
        while engine.has_work:
            engine.step()
            engine.check_integrity()
        return receivers

    return run


def some(count: int = 40, **fields: Any) -> list[SamplingParams]:
    return [SamplingParams(**{"max_tokens": 40, "seed": seed, **fields}) for seed in range(count)]


def text_of(ingot: Ingot, ids: list[int]) -> bytes:
    return b"".join(map(ingot.tokenizer.token_bytes, ids))


def test_no_answer_holds_half_a_character(answer: Answer, ingot: Ingot) -> None:
    """FAULTS D9: invalid UTF-8 is never sampled, an unfinished character at the end is dropped."""
    receivers = answer([5, 6], *some(temperature=1.5, ignore_eos=True), *some(1, temperature=0))
    unfinished = 0
    for receiver in receivers:
        written = text_of(ingot, receiver.token_ids)
        assert "\ufffd" not in receiver.text
        assert written.startswith(receiver.text.encode())
        assert len(written) - len(receiver.text.encode()) < 4
        unfinished += written != receiver.text.encode()
    assert unfinished, "the random weights write every byte"


def test_speculation_and_batches_change_no_answer(answer: Answer) -> None:
    """FAULTS D9: the second sample of a rejected token does not depend on the schedule."""
    params = [*some(6, temperature=1.5), *some(2, temperature=0, ignore_eos=True)]
    together = [one.token_ids for one in answer([5, 6, 5, 6], *params)]
    assert together == [answer([5, 6, 5, 6], one)[0].token_ids for one in params]
    assert together == [one.token_ids for one in answer([5, 6, 5, 6], *params, speculation=4)]


def test_an_answer_completes_the_character_that_raw_ids_begin(answer: Answer, ingot: Ingot) -> None:
    """FAULTS D9: also where the prompt ends within a character."""
    ids = {ingot.tokenizer.token_bytes(one): one for one in range(ingot.tokenizer.vocab_size)}
    for receiver in answer([ids[b"a"], ids[b"\xe4"], ids[b"\xbd"]], *some(8)):
        written = text_of(ingot, receiver.token_ids)
        assert 0x80 <= written[0] <= 0xBF
        assert receiver.text.startswith((b"\xe4\xbd" + written[:1]).decode())


def test_a_token_that_is_sampled_again_has_the_chances_of_a_masked_one(
    answer: Answer, ingot: Ingot
) -> None:
    """FAULTS D9: with the same random number, tokens near the rejected ones would be likelier."""
    tokens = range(ingot.tokenizer.vocab_size - 1)
    broken = [one for one in tokens if 0x80 <= text_of(ingot, [one])[:1].ljust(1)[0] < 0xC0][:2]
    whole = [one for one in tokens if one > broken[-1] and text_of(ingot, [one]).isascii()][:2]
    bias = tuple((token, 100.0) for token in (*broken, *whole))
    params = some(600, max_tokens=1, temperature=10.0, logit_bias=bias, ignore_eos=True)
    counts = Counter(receiver.token_ids[0] for receiver in answer([5, 6], *params))
    assert not set(broken) & counts.keys()
    # Half of the first samples are rejected; the same number again would give all of these to
    # one of the two others, 75% in all.
    for token in whole:
        assert 0.4 * 600 < counts[token] < 0.6 * 600


def test_only_allowed_tokens_are_generated(answer: Answer) -> None:
    allowed = tuple(range(40, 80))
    for receiver in answer([5, 6], *some(8, allowed_token_ids=allowed, ignore_eos=True)):
        assert set(receiver.token_ids) <= set(allowed)
        assert receiver.reason == "length"
    (only,) = answer([5, 6], *some(1, allowed_token_ids=(50,), max_tokens=3))
    assert only.token_ids == [50, 50, 50]


def test_bad_words_are_not_written(answer: Answer, ingot: Ingot) -> None:
    plain = answer([5, 6], *some(temperature=0.7))
    seen = Counter(token for one in plain for token in one.token_ids)
    (word, _), *_ = seen.most_common()
    pairs = Counter(
        pair for one in plain for pair in zip(one.token_ids, one.token_ids[1:], strict=False)
    )
    (pair, _) = next(
        (pair, count)
        for pair, count in pairs.most_common()
        if ingot.tokenizer.encode(ingot.tokenizer.decode(pair).lstrip()) == list(pair)
    )
    single, double = ingot.tokenizer.decode([word]), ingot.tokenizer.decode(pair)
    for speculation in (0, 4):
        for one in answer(
            [5, 6], *some(temperature=0.7, bad_words=(double,)), speculation=speculation
        ):
            assert pair not in zip(one.token_ids, one.token_ids[1:], strict=False)
    if ingot.tokenizer.encode(single.lstrip()) == [word]:
        for one in answer([5, 6], *some(temperature=0.7, bad_words=(single,))):
            assert word not in one.token_ids


def test_nothing_ends_an_answer_before_min_tokens(answer: Answer, ingot: Ingot) -> None:
    eos = ingot.tokenizer.eos_id
    eager: dict[str, Any] = {"logit_bias": ((eos, 100.0),), "temperature": 0}
    (at_once, later) = answer([5, 6], *some(1, **eager), *some(1, min_tokens=7, **eager))
    assert (len(at_once.token_ids), at_once.reason) == (0, "stop")
    assert (len(later.token_ids), later.reason) == (7, "stop")
    free = answer([5, 6], *some(1, temperature=0, ignore_eos=True))[0]
    for stop in (free.text[0], free.text[:3]):
        fields: dict[str, Any] = {"temperature": 0, "ignore_eos": True, "stop": (stop,)}
        (early, late) = answer([5, 6], *some(1, **fields), *some(1, min_tokens=20, **fields))
        assert early.text == ""
        assert late.text.startswith(stop)
        assert len(late.token_ids) > 20 or late.reason == "length"


def test_what_ended_an_answer_may_be_kept(answer: Answer, ingot: Ingot) -> None:
    fields: dict[str, Any] = {"temperature": 0, "ignore_eos": True}
    (free,) = answer([5, 6], *some(1, **fields))
    stop = free.text[6:9]
    end = free.text.index(stop)
    (cut, kept) = answer(
        [5, 6],
        *some(1, stop=(stop,), **fields),
        *some(1, stop=(stop,), include_stop_str_in_output=True, **fields),
    )
    assert (cut.text, cut.reason) == (free.text[:end], "stop")
    assert (kept.text, kept.reason) == (free.text[: end + 3], "stop")
    last = free.token_ids[10]
    first = free.token_ids.index(last)
    (cut, kept) = answer(
        [5, 6],
        *some(1, stop_token_ids=(last,), **fields),
        *some(1, stop_token_ids=(last,), include_stop_str_in_output=True, **fields),
    )
    assert (cut.token_ids, cut.reason) == (free.token_ids[:first], "stop")
    assert (kept.token_ids, kept.reason) == (free.token_ids[: first + 1], "stop")


def test_rules_that_leave_no_token_end_their_sequence_alone(answer: Answer, ingot: Ingot) -> None:
    ids = ingot.tokenizer.encode("(")
    (bad, good) = answer(
        [5, 6],
        *some(1, allowed_token_ids=(ids[0],), bad_words=("(",)),
        *some(1, ignore_eos=True),
    )
    assert bad.reason == "error"
    assert "leave no token" in bad.deltas[-1].error
    assert good.reason == "length"


def test_rules_report_the_models_own_log_probabilities(answer: Answer) -> None:
    fields: dict[str, Any] = {"temperature": 0, "logprobs": 5, "max_tokens": 1}
    (plain, ruled) = answer(
        [5, 6], *some(1, **fields), *some(1, allowed_token_ids=(40, 41), **fields)
    )
    (first,), (second,) = plain.deltas[0].logprobs, ruled.deltas[0].logprobs
    assert second.token_id in (40, 41)
    assert np.allclose([p for _, p in first.top], [p for _, p in second.top], atol=1e-5)
