"""What a model's own chat template is given: variables, tools, calls, the message to continue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.model import Tokenizer
from ingot.server import Server, ServerConfig

TEMPLATE = (
    "{% if tools %}tools:{{ tools | map(attribute='function') | map(attribute='name') | list }};"
    "{% endif %}"
    "{% if enable_thinking %}think;{% endif %}"
    "{% if reasoning_effort %}effort:{{ reasoning_effort }};{% endif %}"
    "{% for message in messages %}[{{ message.role }}|{{ message.content | trim }}"
    "{% for call in message.tool_calls %}|{{ call.function.name }}"
    "{% for key, value in call.function.arguments.items() %}:{{ key }}={{ value }}{% endfor %}"
    "{% endfor %}{% if message.name %}|by {{ message.name }}{% endif %}]{% endfor %}"
    "{% if add_generation_prompt %}[assistant|{% endif %}"
)
USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "area"}}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "area", "arguments": '{"unit": "m", "n": 9007199254740993}'},
}


@pytest.fixture(scope="module")
def prompt(ingot: Ingot, engine: EngineLoop) -> Iterator[Callable[..., str]]:
    """Return the text of the prompt that a conversation becomes."""
    templates = {"default": TEMPLATE}
    with_template = Tokenizer.from_json(ingot.tokenizer.to_json(), chat_templates=templates)
    own = replace(ingot, tokenizer=with_template)
    with Server(own, engine, ServerConfig(port=0, model_name="own")) as server:

        def ask(messages: list[Any], **fields: Any) -> str:
            body = {"model": "own", "messages": messages} | fields
            answer = httpx.post(f"{server.url}/tokenize", json=body, timeout=300)
            assert answer.status_code == 200, answer.text
            return ingot.tokenizer.decode(answer.json()["tokens"])

        yield ask


def test_tools_and_calls_are_given_as_templates_expect_them(prompt: Callable[..., str]) -> None:
    """FAULTS C1: a second turn; arguments are an object, as the templates of models want them."""
    messages = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "name": "area", "content": "12"},
    ]
    assert prompt(messages, tools=[TOOL]) == (
        "tools:['area'];[user|Hi][assistant||area:unit=m:n=9007199254740993][tool|12|by area]"
        "[assistant|"
    )
    assert prompt(messages, tools=[TOOL], tool_choice="none").startswith("[user|Hi]")


def test_variables_of_the_template(prompt: Callable[..., str]) -> None:
    """FAULTS C13: ``chat_template_kwargs`` and ``reasoning_effort``."""
    assert prompt([USER]) == "[user|Hi][assistant|"
    fields = {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "low"}
    assert prompt([USER], **fields) == "think;effort:low;[user|Hi][assistant|"
    own = {"chat_template_kwargs": {"reasoning_effort": "high"}, "reasoning_effort": "low"}
    assert prompt([USER], **own) == "effort:high;[user|Hi][assistant|"
    assert prompt([USER], add_generation_prompt=False) == "[user|Hi]"


@pytest.mark.parametrize("said", ["The area", "The area ", " \n", "a]", ""])
def test_the_last_message_is_continued_to_its_last_character(
    prompt: Callable[..., str], said: str
) -> None:
    """FAULTS C13: also where the template trims texts and closes messages."""
    messages = [USER, {"role": "assistant", "content": said}]
    text = prompt(messages, continue_final_message=True)
    assert text == "[user|Hi][assistant|" + said.lstrip()
