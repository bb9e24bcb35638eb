"""The official client against the real engine: plain, streamed, and equal to the engine's own."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai.types import Completion

from ingot.artifact import Ingot
from ingot.inference import EngineLoop, OutputDelta, SamplingParams

PROMPT = "def area(width"
Ask = Callable[[str, SamplingParams], OutputDelta]


def streamed_text(chunks: list[Completion], index: int = 0) -> str:
    return "".join(
        choice.text for chunk in chunks for choice in chunk.choices if choice.index == index
    )


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_plain_streamed_and_the_engines_own_answer_are_equal(
    client: openai.OpenAI, ask_engine: Ask, temperature: float
) -> None:
    params = SamplingParams(max_tokens=40, temperature=temperature, seed=7)
    own = ask_engine(PROMPT, params)
    asked: dict[str, Any] = {"model": "tiny", "prompt": PROMPT, "max_tokens": 40, "seed": 7}
    plain = client.completions.create(**asked, temperature=temperature)
    chunks = list(client.completions.create(**asked, temperature=temperature, stream=True))
    assert plain.choices[0].text == streamed_text(chunks) == own.text
    assert plain.choices[0].finish_reason == own.finish_reason
    assert chunks[-1].choices[0].finish_reason == own.finish_reason


def test_another_seed_gives_another_answer(client: openai.OpenAI) -> None:
    texts = {
        client.completions.create(model="tiny", prompt=PROMPT, seed=seed).choices[0].text
        for seed in range(4)
    }
    assert len(texts) > 1


def test_the_answer_names_its_weights_and_counts_its_tokens(
    client: openai.OpenAI, ingot: Ingot
) -> None:
    answer = client.completions.create(
        model="tiny", prompt=PROMPT, max_tokens=9, extra_body={"ignore_eos": True}
    )
    read = len(ingot.tokenizer.encode(PROMPT))
    assert answer.system_fingerprint == ingot.digest
    assert answer.object == "text_completion"
    assert answer.model == "tiny"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": read,
        "completion_tokens": 9,
        "total_tokens": read + 9,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def test_a_stream_counts_its_tokens_only_where_asked(client: openai.OpenAI, ingot: Ingot) -> None:
    chunks = list(
        client.completions.create(
            model="tiny",
            prompt=PROMPT,
            max_tokens=9,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True},
        )
    )
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert {chunk.system_fingerprint for chunk in chunks} == {ingot.digest}
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 9
    bare = list(client.completions.create(model="tiny", prompt=PROMPT, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in bare)


def test_a_stop_text_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "prompt": PROMPT, "max_tokens": 40, "temperature": 0}
    whole = client.completions.create(**asked).choices[0].text
    stop = whole[10:13]
    for stops in (stop, ["never said", stop]):
        plain = client.completions.create(**asked, stop=stops).choices[0]
        chunks = list(client.completions.create(**asked, stop=stops, stream=True))
        assert plain.text == streamed_text(chunks) == whole[: whole.index(stop)]
        assert plain.finish_reason == chunks[-1].choices[0].finish_reason == "stop"


def test_many_prompts_and_many_answers_keep_their_order(client: openai.OpenAI) -> None:
    prompts = ["def area", "the quick", "return width"]
    asked: dict[str, Any] = {"model": "tiny", "max_tokens": 12, "seed": 3}
    together = client.completions.create(**asked, prompt=prompts, n=2)
    chunks = list(client.completions.create(**asked, prompt=prompts, n=2, stream=True))
    assert [choice.index for choice in together.choices] == list(range(6))
    for index, choice in enumerate(together.choices):
        seed = 3 + index % 2
        alone = client.completions.create(
            **(asked | {"seed": seed}), prompt=prompts[index // 2]
        ).choices[0]
        assert choice.text == alone.text == streamed_text(chunks, index)


def test_every_form_of_prompt_gives_the_same_answer(client: openai.OpenAI, ingot: Ingot) -> None:
    ids = ingot.tokenizer.encode(PROMPT)
    texts = {
        client.completions.create(model="tiny", prompt=prompt, temperature=0).choices[0].text
        for prompt in (PROMPT, [PROMPT], ids, [ids])
    }
    assert len(texts) == 1


def test_logprobs_follow_the_text(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {
        "model": "tiny",
        "prompt": PROMPT,
        "max_tokens": 12,
        "temperature": 0,
        "logprobs": 3,
    }
    choice = client.completions.create(**asked).choices[0]
    written = choice.logprobs
    assert written is not None
    assert written.tokens
    assert written.token_logprobs
    assert written.top_logprobs
    for token, logprob, top in zip(
        written.tokens, written.token_logprobs, written.top_logprobs, strict=True
    ):
        assert 3 <= len(top) <= 4
        assert top[token] == logprob <= 0
        likeliest = max(top, key=top.__getitem__)
        # Greedy takes the likeliest, unless it would break a character.
        assert token == likeliest or likeliest.startswith("bytes:")
    chunks = list(client.completions.create(**asked, stream=True))
    parts = [choice.logprobs for chunk in chunks for choice in chunk.choices if choice.logprobs]
    assert [token for part in parts for token in part.tokens or []] == written.tokens
    assert [offset for part in parts for offset in part.text_offset or []] == written.text_offset


def test_logprobs_are_absent_where_not_asked(client: openai.OpenAI) -> None:
    choice = client.completions.create(model="tiny", prompt=PROMPT).choices[0]
    assert choice.logprobs is None


def test_32_streams_at_once_each_equal_their_answer_alone(client: openai.OpenAI) -> None:
    prompts = [f"def f{number}(x):" + " x" * (number % 5) for number in range(32)]

    def ask(prompt: str, stream: bool) -> str:
        asked: dict[str, Any] = {
            "model": "tiny",
            "prompt": prompt,
            "max_tokens": 24,
            "temperature": 0,
        }
        if stream:
            return streamed_text(list(client.completions.create(**asked, stream=True)))
        return str(client.completions.create(**asked).choices[0].text)

    alone = [ask(prompt, stream=False) for prompt in prompts]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        together = list(pool.map(lambda prompt: ask(prompt, stream=True), prompts))
    assert together == alone


def test_the_context_ends_an_answer_at_its_length(client: openai.OpenAI, ingot: Ingot) -> None:
    prompt = [5] * (ingot.config.max_position_embeddings - 3)
    answer = client.completions.create(
        model="tiny", prompt=prompt, max_tokens=100, extra_body={"ignore_eos": True}
    )
    assert answer.choices[0].finish_reason == "length"


def test_errors_reach_the_client_as_its_own_kinds(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="model is called 'tiny'"):
        client.completions.create(model="gpt", prompt=PROMPT)
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny", prompt="x " * 3000)
    assert caught.value.code == "context_length_exceeded"


def test_the_engine_is_whole_afterwards(
    engine: EngineLoop, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    wait_until(lambda: engine.stats().running == 0)
