"""Each parameter has its effect, through HTTP."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types import Completion

from ingot.artifact import Ingot
from ingot.inference import Engine, EngineConfig, EngineLoop
from ingot.inference.executors.torch import TorchExecutor
from ingot.server import Server, ServerConfig

PROMPT = "def area(width"
GREEDY: dict[str, Any] = {"model": "tiny", "prompt": PROMPT, "max_tokens": 24, "temperature": 0}


def ask(client: openai.OpenAI, further: dict[str, Any] | None = None, **fields: Any) -> Completion:
    return client.completions.create(**(GREEDY | fields), extra_body=further)


def token_ids(
    client: openai.OpenAI, ingot: Ingot, further: dict[str, Any] | None = None, **fields: Any
) -> list[int]:
    """Return the answer's tokens, by their names in the log-probabilities."""
    written = (
        ask(client, {"ignore_eos": True} | (further or {}), logprobs=0, **fields)
        .choices[0]
        .logprobs
    )
    assert written is not None
    names = {_name(ingot, token): token for token in range(ingot.tokenizer.vocab_size)}
    return [names[token] for token in written.tokens or ()]


def _name(ingot: Ingot, token: int) -> str:
    if token == ingot.tokenizer.eos_id:
        return "<|endoftext|>"
    data = ingot.tokenizer.token_bytes(token)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def test_logit_bias_forces_and_forbids(client: openai.OpenAI, ingot: Ingot) -> None:
    usual = token_ids(client, ingot)
    wanted = ingot.tokenizer.encode("Q")[0]
    assert set(token_ids(client, ingot, logit_bias={str(wanted): 100})) == {wanted}
    without = token_ids(client, ingot, logit_bias={str(token): -100 for token in set(usual)})
    assert not set(without) & set(usual)


@pytest.mark.parametrize("name", ["frequency_penalty", "presence_penalty"])
def test_penalties_of_the_answer_make_it_repeat_less(
    client: openai.OpenAI, ingot: Ingot, name: str
) -> None:
    loop = ingot.tokenizer.encode("Q")[0]
    bias = {str(loop): 12}  # without a penalty this token always wins
    assert set(token_ids(client, ingot, logit_bias=bias, max_tokens=16)) == {loop}
    fields: dict[str, Any] = {name: 2.0}
    bias = {str(loop): 1e-9}
    usual = token_ids(client, ingot, logit_bias=bias, max_tokens=200)
    less = token_ids(client, ingot, logit_bias=bias, max_tokens=200, **fields)
    assert len(set(less)) > len(set(usual))


def test_repetition_penalty_counts_the_prompt_too(client: openai.OpenAI, ingot: Ingot) -> None:
    asked = GREEDY | {"logprobs": 0, "ignore_eos": True, "max_tokens": 200}
    texts = [
        client.completions.create(
            **(GREEDY | {"max_tokens": 200}),
            extra_body={"repetition_penalty": penalty, "ignore_eos": True},
        )
        .choices[0]
        .text
        for penalty in (1.0, 2.0)
    ]
    assert texts[0] != texts[1]
    distinct = [len(set(ingot.tokenizer.encode(text))) for text in texts]
    assert distinct[1] > distinct[0], asked


def test_typical_p_and_the_other_filters_narrow_what_is_drawn(client: openai.OpenAI) -> None:
    def distinct(**fields: Any) -> int:
        answer = client.completions.create(
            model="tiny",
            prompt=PROMPT,
            max_tokens=1,
            n=16,
            seed=1,
            temperature=3,
            extra_body=fields,
        )
        return len({choice.text for choice in answer.choices})

    wide = distinct()
    assert wide > 5
    for narrow in ({"typical_p": 0.001}, {"top_p": 0.001}, {"top_k": 1}, {"min_p": 1.0}):
        assert distinct(**narrow) == 1


def test_stop_token_ids_end_the_answer_before_the_token(
    client: openai.OpenAI, ingot: Ingot
) -> None:
    tokens = token_ids(client, ingot)
    stop = tokens[5]
    index = tokens.index(stop)
    choice = ask(client, {"stop_token_ids": [stop], "ignore_eos": True}, logprobs=0).choices[0]
    assert choice.finish_reason == "stop"
    assert choice.logprobs is not None
    assert len(choice.logprobs.tokens or ()) == index


@pytest.mark.parametrize("stream", [False, True])
def test_echo_scores_the_prompt(client: openai.OpenAI, ingot: Ingot, stream: bool) -> None:
    asked: dict[str, Any] = GREEDY | {"echo": True, "logprobs": 2, "max_tokens": 3}
    if stream:
        parts = list(client.completions.create(**asked, stream=True))
        text = "".join(part.choices[0].text for part in parts)
        logprobs = [part.choices[0].logprobs for part in parts if part.choices[0].logprobs]
        values = list(itertools.chain(*(part.token_logprobs or () for part in logprobs)))
        tops = list(itertools.chain(*(part.top_logprobs or () for part in logprobs)))
        offsets = list(itertools.chain(*(part.text_offset or () for part in logprobs)))
    else:
        choice = client.completions.create(**asked).choices[0]
        assert choice.logprobs
        text, values = choice.text, choice.logprobs.token_logprobs or []
        tops, offsets = choice.logprobs.top_logprobs or [], choice.logprobs.text_offset or []
    plain = ask(client, max_tokens=3, logprobs=2).choices[0]
    ids = ingot.tokenizer.encode(PROMPT)
    assert text == PROMPT + plain.text
    assert plain.logprobs is not None
    assert values[0] is None
    assert tops[0] is None
    assert len(values) == len(tops) == len(ids) + 3
    assert values[len(ids) :] == pytest.approx(plain.logprobs.token_logprobs, abs=1e-4)
    assert offsets[: len(ids)] == [
        len(ingot.tokenizer.decode(ids[:count])) for count in range(len(ids))
    ]
    # Each prompt token's score is what asking for it from the tokens before it gives.
    for count in range(1, len(ids)):
        after = client.completions.create(
            model="tiny",
            prompt=ids[:count],
            max_tokens=1,
            temperature=0,
            logprobs=0,
            logit_bias={str(ids[count]): 100},
        ).choices[0]
        assert after.logprobs is not None
        assert after.logprobs.token_logprobs == pytest.approx([values[count]], abs=1e-4)


def test_a_prompt_may_be_scored_and_nothing_written(client: openai.OpenAI, ingot: Ingot) -> None:
    """As lm-eval's local-completions asks: token ids, echo, one log-probability."""
    prompts = [ingot.tokenizer.encode(text) for text in (PROMPT, "the quick")]
    for most in (0, 1):
        answer = client.completions.create(
            model="tiny",
            prompt=prompts,
            temperature=0,
            max_tokens=most,
            logprobs=1,
            echo=True,
            seed=1234,
        )
        for choice, ids in zip(answer.choices, prompts, strict=True):
            assert choice.logprobs is not None
            assert len(choice.logprobs.token_logprobs or ()) == len(ids) + most
            top = (choice.logprobs.top_logprobs or ())[1]
            assert 1 <= len(top) <= 2
            assert (choice.logprobs.token_logprobs or ())[1] <= max(top.values())


def test_best_of_returns_the_likeliest(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "prompt": PROMPT, "max_tokens": 6, "seed": 4}
    every = client.completions.create(**asked, n=6, logprobs=0).choices
    means = [
        sum(choice.logprobs.token_logprobs or ()) / len(choice.logprobs.token_logprobs or ())
        for choice in every
        if choice.logprobs
    ]
    ranked = sorted(range(6), key=lambda index: -means[index])
    best = client.completions.create(**asked, best_of=6, n=2)
    assert [choice.text for choice in best.choices] == [every[index].text for index in ranked[:2]]
    assert [choice.index for choice in best.choices] == [0, 1]
    assert best.choices[0].logprobs is None
    assert best.usage is not None
    assert best.usage.completion_tokens > 12


@pytest.mark.parametrize(
    "fields",
    [
        {"best_of": 2, "n": 3},
        {"best_of": 3, "stream": True},
        {"max_tokens": 0},
        {"max_tokens": 0, "echo": True},
    ],
)
def test_what_does_not_go_together_is_refused(http: httpx.Client, fields: dict[str, Any]) -> None:
    response = http.post("/v1/completions", json=GREEDY | fields)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == next(iter(fields))


def test_a_request_may_set_its_own_timeout(http: httpx.Client) -> None:
    slow = GREEDY | {"prompt": ["def"] * 8, "max_tokens": 2000, "ignore_eos": True}
    response = http.post("/v1/completions", json=slow | {"timeout": 0.2})
    assert response.status_code == 504
    assert "0.2 s" in response.json()["error"]["message"]


def test_cached_tokens_are_reported_and_salts_keep_apart(http: httpx.Client) -> None:
    def cached(salt: str | None) -> int:
        asked = {"model": "tiny", "prompt": "width * height " * 40, "max_tokens": 1}
        answer = http.post("/v1/completions", json=asked | {"cache_salt": salt}).json()
        return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])

    assert cached("one") == 0
    first = cached("one")
    assert first > 50
    assert cached("two") == 0
    assert cached(None) == 0
    assert cached("one") == first


def test_timing_says_where_the_time_went(http: httpx.Client) -> None:
    began = time.perf_counter()
    answer = http.post("/v1/completions", json=GREEDY | {"ignore_eos": True}).json()
    elapsed = time.perf_counter() - began
    timing = answer["timing"]
    assert timing.keys() == {"queue_s", "prefill_s", "decode_s"}
    assert all(seconds >= 0 for seconds in timing.values())
    assert 0 < sum(timing.values()) <= elapsed


def test_structured_outputs(http: httpx.Client) -> None:
    def answer(**outputs: Any) -> str:
        asked = {"model": "tiny", "prompt": PROMPT, "max_tokens": 60, "seed": 1}
        response = http.post("/v1/completions", json=asked | {"structured_outputs": outputs})
        assert response.status_code == 200, response.text
        return str(response.json()["choices"][0]["text"])

    assert re.fullmatch(r"[0-9]{4}-[a-c]{2}", answer(regex=r"[0-9]{4}-[a-c]{2}"))
    assert answer(choice=["yes", 'no "sir"']) in ("yes", 'no "sir"')
    assert answer(grammar='start: "a" ("b" | "c") "d"') in ("abd", "acd")
    assert json.loads(answer(json={"enum": [1, 2, 3]})) in (1, 2, 3)


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"regex": "a", "choice": ["b"]},
        {"regex": "("},
        {"regex": "(a{1000}){1000}" * 20},
        {"regex": "a" * 100_000},
        {"grammar": "no grammar"},
        {"grammar": 'start: a\na: start "x"\n' + "".join(f"r{n}: r{n + 1}\n" for n in range(3000))},
        {"json": {"type": "nothing"}},
        {"json": {"$ref": "http://example.com/schema.json"}},
        {"choice": []},
    ],
    ids=lambda outputs: str(outputs)[:30],
)
def test_bad_grammars_and_bombs_are_refused(http: httpx.Client, outputs: dict[str, Any]) -> None:
    response = http.post("/v1/completions", json=GREEDY | {"structured_outputs": outputs})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["param"] == "structured_outputs" or error["code"] == "invalid_grammar"


@pytest.fixture
def narrow(ingot: Ingot) -> Iterator[httpx.Client]:
    """A server whose engine runs one sequence at a time."""
    config = EngineConfig(max_sequences=1)
    executor = TorchExecutor(ingot, num_blocks=config.blocks_for(ingot.config))
    engine = EngineLoop(Engine(executor, ingot.tokenizer, config))
    with (
        Server(ingot, engine, ServerConfig(port=0)) as server,
        httpx.Client(base_url=server.url, timeout=300) as http,
    ):
        yield http
    engine.close(5)


def test_priority_goes_before_what_came_earlier(
    narrow: httpx.Client, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    done: list[str] = []

    def run(name: str, priority: int, tokens: int) -> None:
        asked = GREEDY | {"max_tokens": tokens, "ignore_eos": True, "priority": priority}
        narrow.post("/v1/completions", json=asked).raise_for_status()
        done.append(name)

    def waiting() -> bool:
        text = narrow.get("/metrics").text
        return 'vllm:num_requests_waiting{model_name="tiny"} 2.0' in text

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(run, "long", 0, 1200)]
        jobs.append(pool.submit(run, "later", 5, 20))
        jobs.append(pool.submit(run, "late", 4, 20))
        wait_until(waiting)
        jobs.append(pool.submit(run, "urgent", -5, 20))
        for job in jobs:
            job.result(300)
    assert done == ["urgent", "long", "late", "later"]


def test_usage_says_how_many_guesses_of_speculation_were_right(ingot: Ingot) -> None:
    config = EngineConfig(speculation=4)
    loop = EngineLoop(Engine(TorchExecutor(ingot), ingot.tokenizer, config))
    asked = GREEDY | {"max_tokens": 100, "extra_body": {"ignore_eos": True}}
    with (
        Server(ingot, loop, ServerConfig(port=0)) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client,
    ):
        usage = client.completions.create(**asked).usage
        stats = loop.stats()
    loop.close(5)
    assert usage is not None
    assert usage.completion_tokens_details is not None
    accepted = usage.completion_tokens_details.accepted_prediction_tokens
    rejected = usage.completion_tokens_details.rejected_prediction_tokens
    assert accepted == stats.accepted_tokens > 10
    assert rejected == stats.drafted_tokens - stats.accepted_tokens


def test_only_allowed_tokens_are_generated(client: openai.OpenAI, ingot: Ingot) -> None:
    """FAULTS C13: allowed_token_ids, as in vLLM."""
    allowed = [40, 41, 42]
    further = {"allowed_token_ids": allowed, "ignore_eos": True}
    written = ask(client, further, logprobs=0).choices[0].logprobs
    assert written is not None
    assert set(written.tokens or ()) <= {_name(ingot, token) for token in allowed}
    with pytest.raises(openai.BadRequestError, match="is not a token id") as caught:
        ask(client, {"allowed_token_ids": [100_000]})
    assert caught.value.param == "allowed_token_ids"


def test_bad_words_are_not_written(client: openai.OpenAI, ingot: Ingot) -> None:
    """FAULTS C13: bad_words, as in vLLM."""
    usual = token_ids(client, ingot)
    word = next(
        text
        for token in usual
        if (text := ingot.tokenizer.decode([token])) and ingot.tokenizer.encode(text) == [token]
    )
    forms = [ingot.tokenizer.encode(form) for form in (word.lstrip(), " " + word.lstrip())]
    without = token_ids(client, ingot, {"bad_words": [word]})
    for answer, wanted in ((usual, True), (without, False)):
        starts = range(len(answer))
        assert wanted == any(answer[at : at + len(form)] == form for at in starts for form in forms)


def test_rules_that_leave_no_token_are_the_clients_error(
    client: openai.OpenAI, ingot: Ingot
) -> None:
    (token,) = ingot.tokenizer.encode("Q")
    with pytest.raises(openai.BadRequestError, match="leave no token"):
        ask(client, {"allowed_token_ids": [token], "bad_words": ["Q"]})
    assert ask(client).choices


def test_nothing_ends_an_answer_before_min_tokens(client: openai.OpenAI, ingot: Ingot) -> None:
    """FAULTS C13: min_tokens, as in vLLM."""
    ends = {"logit_bias": {str(ingot.tokenizer.eos_id): 100}}
    early = ask(client, **ends)
    late = ask(client, {"min_tokens": 9}, **ends)
    for answer, counts in ((early, (0,)), (late, range(9, 12))):  # a character is completed first
        assert answer.usage is not None
        assert answer.usage.completion_tokens in counts
        assert answer.choices[0].finish_reason == "stop"
    with pytest.raises(openai.BadRequestError, match="max_tokens") as caught:
        ask(client, {"min_tokens": 25})
    assert caught.value.param == "min_tokens"
    with pytest.raises(openai.BadRequestError, match="grammar") as caught:
        ask(client, {"ignore_eos": True, "structured_outputs": {"regex": "a+"}})
    assert caught.value.param == "ignore_eos"


def test_the_text_that_ended_an_answer_may_be_kept(client: openai.OpenAI) -> None:
    """FAULTS C13: include_stop_str_in_output, as in vLLM."""
    usual = ask(client, {"ignore_eos": True}).choices[0].text
    stop = usual[4:6]
    end = usual.index(stop)
    for keep, text in ((False, usual[:end]), (True, usual[: end + 2])):
        further = {"ignore_eos": True, "include_stop_str_in_output": keep}
        assert ask(client, further, stop=stop).choices[0].text == text


@pytest.mark.parametrize("max_tokens", [0, 2])
def test_prompts_are_scored(client: openai.OpenAI, ingot: Ingot, max_tokens: int) -> None:
    """FAULTS C13: prompt_logprobs, as in vLLM, equal to those that echo gives."""
    echoed = ask(client, echo=True, logprobs=2, max_tokens=1).choices[0].logprobs
    answer = ask(client, {"prompt_logprobs": 2}, max_tokens=max_tokens, n=2, seed=1)
    ids = ingot.tokenizer.encode(PROMPT)
    assert echoed is not None
    for choice in answer.choices:
        scored = choice.model_extra["prompt_logprobs"]  # type: ignore[index]
        assert len(scored) == len(ids)
        assert scored[0] is None
        for index, token in enumerate(ids[1:], 1):
            entries = scored[index]
            # PyTorch's products of another batch differ in the last bit on AVX2.
            expected = pytest.approx((echoed.token_logprobs or [])[index], abs=1e-5)
            assert entries[str(token)]["logprob"] == expected
            assert entries[str(token)]["decoded_token"] == _name(ingot, token)
            ranks = [entry["rank"] for entry in entries.values() if entry["rank"]]
            assert sorted(ranks) == [1, 2]
            assert len(entries) in (2, 3)
            assert next(iter(entries)) == str(token)
    plain = ask(client).choices[0]
    assert "prompt_logprobs" not in (plain.model_extra or {})


def test_the_prompt_of_a_chat_is_scored(client: openai.OpenAI) -> None:
    """FAULTS C13: prompt_logprobs in chat."""
    asked: dict[str, Any] = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 2,
        "n": 2,
    }
    answer = client.chat.completions.create(**asked, extra_body={"prompt_logprobs": 0})
    assert answer.usage is not None
    first, *others = answer.model_extra["prompt_logprobs"]  # type: ignore[index]
    assert first is None
    assert len(others) == answer.usage.prompt_tokens - 1
    assert all(len(entries) == 1 for entries in others)
    with pytest.raises(openai.BadRequestError, match="stream=true"):
        client.chat.completions.create(**asked, stream=True, extra_body={"prompt_logprobs": 0})
