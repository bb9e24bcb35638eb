from __future__ import annotations

import pytest

from ingot.artifact.export.chat_format import chat_format
from ingot.errors import UsageError
from ingot.model.chat import DEFAULT_TEMPLATE

CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM<|im_end|>\\n' }}"
    "{% endif %}" + CHATML.removeprefix("{% for message in messages %}")
)
LLAMA3 = (
    "{% for message in messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    " + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
CHAT = [
    {"role": "user", "content": "Two and\ntwo?"},
    {"role": "assistant", "content": "Four."},
    {"role": "user", "content": "And three?"},
]


def test_the_default_template() -> None:
    form = chat_format(DEFAULT_TEMPLATE, {"eos_token": "</s>"})
    assert form.around["user"] == ("user\n", "</s>")
    assert (form.beginning, form.asked, form.system) == ("", "assistant\n", None)


def test_a_default_system_message() -> None:
    form = chat_format(SMOLLM2, {})
    assert form.system == "You are a helpful AI assistant named SmolLM"
    assert form.around["system"] == ("<|im_start|>system\n", "<|im_end|>\n")
    assert form.render(CHAT).startswith("<|im_start|>system\nYou are")


def test_a_beginning_of_text() -> None:
    form = chat_format(LLAMA3, {"bos_token": "<|begin_of_text|>"})
    assert form.beginning == "<|begin_of_text|>"
    assert form.around["user"] == ("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>")
    assert form.system is None


def test_the_go_template_quotes_every_text() -> None:
    text = chat_format(CHATML, {}).go_template()
    assert '{{- "<|im_start|>user\\n" }}{{ .Content }}{{ "<|im_end|>\\n" -}}' in text
    assert text.endswith('{{- "<|im_start|>assistant\\n" }}')


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{{ messages | length }}",
        "{{ messages[0].content }}",
        "{{ raise_exception('no') }}",
        CHATML.replace("message['content']", "message['content'] | replace('\\n', ' ')"),
    ],
    ids=["changed text", "count", "one message", "refuses", "no line breaks"],
)
def test_a_template_that_does_more_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="ollama"):
        chat_format(template, {})
