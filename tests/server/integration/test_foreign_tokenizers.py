"""Models with the tokenizers, special tokens and templates of other families, served."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingot.api.inference import Model, load
from ingot.artifact import Provenance, freeze
from ingot.model import Tokenizer
from ingot.model.generation_config import GenerationDefaults
from ingot.model.tokenizer_files import read_tokenizer
from ingot.server import Server, ServerConfig
from tests.model.published_tokenizers import files
from tests.random_model import random_weights, small_config

ROWS = 640  # more than any of the tokenizers has
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"
    "{% if tools %}{{ tools | length }} tools{% endif %}"
)
TOOL = {"type": "function", "function": {"name": "area"}}
Ask = Callable[..., dict[str, Any]]


def tokenizer_of(kind: str, **generation: Any) -> Tokenizer:
    """Read a kind's tokenizer with the template of these tests and a ``generation_config.json``."""
    given = dict(files(kind))
    config = json.loads(given["tokenizer_config.json"])
    named = [
        {"name": "default", "template": TEMPLATE},
        {"name": "tool_use", "template": "{{ bos_token }}use it: " + TEMPLATE[15:]},
    ]
    given["tokenizer_config.json"] = json.dumps(config | {"chat_template": named}).encode()
    given["generation_config.json"] = json.dumps(generation).encode()
    return read_tokenizer(given, rows=ROWS)


def freeze_tiny(out: Path, tokenizer: Tokenizer, generation: GenerationDefaults) -> Path:
    """Freeze a small model with random weights."""
    config = small_config(vocab_size=ROWS, num_hidden_layers=1, max_position_embeddings=512)
    weights = random_weights(config)
    provenance = Provenance()
    freeze(weights, config, tokenizer, out, provenance=provenance, generation=generation).close()
    return out


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """A model with two tokens that end an answer, and sampling defaults of its own."""
    ends = made_ends()
    tokenizer = tokenizer_of("mistral", eos_token_id=ends)
    defaults = GenerationDefaults(temperature=0.0, top_p=0.5)
    path = freeze_tiny(tmp_path_factory.mktemp("m") / "m.ingot", tokenizer, defaults)
    with load(path) as model:
        yield model


def made_ends() -> list[int]:
    """``</s>`` and the token of "[INST]"."""
    plain = read_tokenizer(files("mistral"), rows=ROWS)
    return [plain.eos_id, plain.special_tokens["[INST]"]]


@pytest.fixture(scope="module")
def ask(mistral: Model) -> Iterator[Ask]:
    """Send a request and return the answer."""
    config = ServerConfig(port=0, model_name="m")
    with Server(mistral.ingot, mistral.loop, config) as server:

        def send(path: str, **fields: Any) -> dict[str, Any]:
            answer = httpx.post(f"{server.url}{path}", json={"model": "m", **fields}, timeout=300)
            assert answer.status_code == 200, answer.text
            read: dict[str, Any] = answer.json()
            return read

        yield send


def test_what_is_frozen_is_opened_the_same(mistral: Model) -> None:
    tokenizer = mistral.ingot.tokenizer
    assert tokenizer.stop_ids == set(made_ends())
    assert tokenizer.prefix == (tokenizer.bos_id,)
    assert tokenizer.chat_templates["default"] == TEMPLATE
    assert mistral.ingot.generation == GenerationDefaults(temperature=0.0, top_p=0.5)


@pytest.mark.parametrize("index", [0, 1])
def test_each_of_two_end_tokens_ends_an_answer(ask: Ask, index: int) -> None:
    end = made_ends()[index]
    choice = ask("/v1/completions", prompt="Hello", logit_bias={str(end): 100})["choices"][0]
    assert (choice["finish_reason"], choice["text"]) == ("stop", "")
    ignored = ask(
        "/v1/completions",
        prompt="Hello",
        logit_bias={str(end): 100},
        ignore_eos=True,
        max_tokens=3,
        logprobs=1,
    )["choices"][0]
    assert ignored["finish_reason"] == "length"
    assert ignored["logprobs"]["tokens"] == [["</s>", "[INST]"][index]] * 3


@pytest.mark.parametrize("index", [0, 1])
def test_each_of_them_ends_an_answer_that_follows_a_grammar(ask: Ask, index: int) -> None:
    end = made_ends()[index]
    # A token has up to three digits; a comma is one token.
    fields = {"structured_outputs": {"regex": ",,{1,8}"}, "max_tokens": 20, "temperature": 1}
    choice = ask("/v1/completions", prompt="a", logit_bias={str(end): 100}, **fields)["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert len(choice["text"]) == 2, "as soon as the grammar allows an end"
    assert choice["text"] == ",,"


def test_a_text_begins_with_one_bos(ask: Ask, mistral: Model) -> None:
    tokenizer = mistral.ingot.tokenizer
    bos = tokenizer.bos_id
    ids = ask("/tokenize", prompt="<s> Hello")["tokens"]
    assert (ids[0], ids.count(bos)) == (bos, 1)
    assert tokenizer.decode(ids) == "<s> Hello"
    bare = ask("/tokenize", prompt="<s> Hello", add_special_tokens=False)["tokens"]
    assert bare == ids[1:]
    scored = ask("/v1/completions", prompt="Hello", echo=True, logprobs=1, max_tokens=1)
    assert scored["usage"]["prompt_tokens"] == 1 + len(tokenizer.encode("Hello"))
    assert scored["choices"][0]["logprobs"]["tokens"][0] == "<s>"


def test_a_long_text_is_encoded_by_the_process_in_the_same_way(ask: Ask, mistral: Model) -> None:
    text = "Hello there, 12. " * 100
    ids = ask("/tokenize", prompt=text)["tokens"]
    assert ids == [mistral.ingot.tokenizer.bos_id, *mistral.ingot.tokenizer.encode(text)]
    messages = [{"role": "user", "content": text}]
    chat = ask("/tokenize", messages=messages)["tokens"]
    assert chat == mistral.encode_chat(messages)


def test_a_conversation_begins_with_one_bos(ask: Ask, mistral: Model) -> None:
    tokenizer = mistral.ingot.tokenizer
    messages = [{"role": "user", "content": "<s>[INST] Hi</s>"}]
    ids = ask("/tokenize", messages=messages)["tokens"]
    wanted = [tokenizer.bos_id, tokenizer.special_tokens["[INST]"]]
    assert ids[:2] == wanted
    assert ids[-1] == tokenizer.special_tokens["[/INST]"]
    assert not set(ids[2:-1]) & set(tokenizer.special_tokens.values())
    assert tokenizer.decode(ids) == " <s>[INST] Hi</s> "[1:], "the first space of a text is dropped"
    assert ask("/v1/chat/completions", messages=messages, max_tokens=1)["usage"][
        "prompt_tokens"
    ] == len(ids)


def test_tools_have_a_template_of_their_own(ask: Ask, mistral: Model) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    decode = mistral.ingot.tokenizer.decode
    plain = decode(ask("/tokenize", messages=messages)["tokens"])
    with_tools = decode(ask("/tokenize", messages=messages, tools=[TOOL])["tokens"])
    assert "use it" not in plain
    assert with_tools.startswith("use it:")
    assert with_tools.endswith("1 tools")


def test_a_request_that_says_nothing_is_sampled_as_the_model_says(ask: Ask, mistral: Model) -> None:
    texts = {
        ask("/v1/completions", prompt="a", seed=n, max_tokens=9)["choices"][0]["text"]
        for n in range(3)
    }
    assert len(texts) == 1, "greedy"
    varied = {
        ask("/v1/completions", prompt="a", seed=n, max_tokens=9, temperature=2, top_p=1)["choices"][
            0
        ]["text"]
        for n in range(3)
    }
    assert len(varied) > 1
    response = ask("/v1/responses", input="a", max_output_tokens=16)
    assert (response["temperature"], response["top_p"]) == (0.0, 0.5)
    assert {mistral.generate("a", seed=n, max_tokens=9).text for n in range(3)} == texts


def test_the_models_sampling_can_be_ignored(mistral: Model) -> None:
    config = ServerConfig(port=0, model_name="m", generation_config="none")
    with Server(mistral.ingot, mistral.loop, config) as server:
        body = {"model": "m", "input": "a", "max_output_tokens": 16}
        answer = httpx.post(f"{server.url}/v1/responses", json=body, timeout=300).json()
    assert (answer["temperature"], answer["top_p"]) == (1.0, 1.0)


@pytest.fixture(scope="module")
def with_holes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose vocabulary leaves out numbers and whose table has more rows."""
    path = tmp_path_factory.mktemp("p") / "p.ingot"
    return freeze_tiny(path, tokenizer_of("phi4"), GenerationDefaults())


@pytest.mark.parametrize("executor", ["native", "torch"])
def test_ids_without_a_token_are_never_sampled(with_holes: Path, executor: str) -> None:
    """Each is as likely as another here: 7 of 430 ids, in 400 draws."""
    with load(with_holes, executor=executor) as model:  # type: ignore[arg-type]
        tokenizer = model.ingot.tokenizer
        assert len(tokenizer.holes) == 7
        for fields in ({}, {"bad_words": ("the",)}, {"min_tokens": 200}):
            result = model.generate(
                "a", max_tokens=200, temperature=10, ignore_eos=True, seed=1, **fields
            )
            assert len(result.token_ids) == 200
            assert tokenizer.unknown(result.token_ids) is None


def test_ids_without_a_token_are_refused(with_holes: Path) -> None:
    with load(with_holes) as model:
        hole = model.ingot.tokenizer.holes[0]
        with Server(model.ingot, model.loop, ServerConfig(port=0, model_name="p")) as server:
            for path, fields in (
                ("/v1/completions", {"prompt": [1, hole]}),
                ("/v1/completions", {"prompt": "a", "logit_bias": {str(hole): 5}}),
                ("/v1/completions", {"prompt": "a", "allowed_token_ids": [hole]}),
                ("/detokenize", {"tokens": [1, hole]}),
            ):
                answer = httpx.post(f"{server.url}{path}", json={"model": "p", **fields})
                assert answer.status_code == 400, answer.text
                assert str(hole) in answer.json()["error"]["message"]
