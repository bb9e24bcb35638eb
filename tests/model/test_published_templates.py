"""Chat templates of the kinds that are published, held to transformers' ``apply_chat_template``.

The templates are written for these tests, with the constructs of each family's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingot.model import Tokenizer
from ingot.model.chat import ChatTemplate, template_for
from ingot.model.tokenizer_files import read_tokenizer
from tests.model.published_tokenizers import files

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "area",
            "description": 'Of a field, in "m²" <b>',
            "parameters": {"type": "object", "properties": {"width": {"type": "number"}}},
        },
    }
]
CALL = {"type": "function", "function": {"name": "area", "arguments": {"width": 3, "note": "é"}}}
TALK = [
    {"role": "system", "content": " Be brief.\n"},
    {"role": "user", "content": "  How large? \n"},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nNine.  "},
    {"role": "user", "content": "And é 😀?"},
]
CALLS = [
    *TALK[:2],
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "name": "area", "content": "9"},
]
LLAMA_2 = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}\
{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}\
{% set system_message = false %}{% endif %}{% for message in loop_messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('roles must alternate') }}{% endif %}\
{% if loop.index0 == 0 and system_message %}\
{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}\
{% else %}{% set content = message['content'] %}{% endif %}\
{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}\
{% endfor %}"""
LLAMA_3 = """{{- bos_token }}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system = "" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}{%- endif %}
{{- system }}{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments | tojson }}{{- "}" }}
        {{- "<|eot_id|>" }}
    {%- else %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
QWEN_3 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Tools\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string %}
        {%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "assistant" %}
        {%- set content = message.content %}
        {%- if '</think>' in content and loop.index0 < ns.last_query_index %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' + content }}
        {%- if message.tool_calls %}{%- for tool_call in message.tool_calls %}
            {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
            {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
            {%- if tool_call.arguments is string %}{{- tool_call.arguments }}
            {%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}{%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif not (loop.first and message.role == 'system') %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
PHI = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\\n' + "
    "message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\\n' + "
    "message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}"
    "{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
GEMMA = """{{ bos_token }}
{%- set first = (messages[0]['content'] + '\n\n') if messages[0]['role'] == 'system' else "" -%}
{%- set loop_messages = messages[1:] if messages[0]['role'] == 'system' else messages -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}{%- set role = "model" -%}
    {%- else -%}{%- set role = message['role'] -%}{%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first if loop.first else "") }}
    {%- if message['content'] is string -%}{{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}{{ item['text'] | trim }}{%- endfor -%}
    {%- else -%}{{ raise_exception("Invalid content type") }}{%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{'<start_of_turn>model\n'}}{%- endif -%}
"""
FAMILIES = {
    "llama2": LLAMA_2,
    "mistral": LLAMA_2,
    "llama3": LLAMA_3,
    "qwen": QWEN_3,
    "smollm2": QWEN_3,
    "phi3": PHI,
    "phi4": PHI,
    "gemma": GEMMA,
    "gpt2": "{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}",
}


def transformers_tokenizer(tokenizer: Tokenizer, folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    (folder / "tokenizer.json").write_text(tokenizer.to_json())
    (folder / "tokenizer_config.json").write_text(tokenizer.hf_config(64))
    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_conversation_is_what_transformers_makes_of_it(kind: str, tmp_path: Path) -> None:
    tokenizer = read_tokenizer(files(kind) | {"chat_template.jinja": FAMILIES[kind].encode()})
    peer = transformers_tokenizer(tokenizer, tmp_path)
    talks = [TALK, TALK[1:], TALK[1:2]]
    further: list[dict[str, Any]] = [{}, {"enable_thinking": False}, {"enable_thinking": True}]
    if kind in ("llama3", "qwen"):
        talks.append(CALLS)
        further.append({"tools": TOOLS})
    with ChatTemplate(template_for(tokenizer)) as template:
        for talk in talks:
            for variables in further:
                for prompt in (False, True):
                    ours = template.encode(
                        tokenizer, talk, add_generation_prompt=prompt, variables=variables
                    )
                    theirs = peer.apply_chat_template(
                        talk, add_generation_prompt=prompt, return_dict=False, **variables
                    )
                    assert ours == theirs


@pytest.mark.parametrize("kind", ["llama2", "mistral", "phi3", "phi4", "gemma", "llama3", "qwen"])
def test_answers_are_tokenized_as_in_the_whole(kind: str) -> None:
    """Training sees the tokens that serving does, except where a token would join both sides."""
    tokenizer = read_tokenizer(files(kind) | {"chat_template.jinja": FAMILIES[kind].encode()})
    talk = [TALK[1], {"role": "assistant", "content": "Nine."}]
    with ChatTemplate(template_for(tokenizer)) as template:
        (chat,) = template.encode_answers(tokenizer, [talk])
        asked = template.encode(tokenizer, talk[:1])
        whole = template.encode(tokenizer, talk, add_generation_prompt=False)
    assert chat.ids[: len(asked)] == asked
    assert chat.answers == [False] * len(asked) + [True] * (len(chat.ids) - len(asked))
    assert tokenizer.decode(chat.ids) == tokenizer.decode(whole)
    assert chat.ids.count(tokenizer.bos_id) == whole.count(tokenizer.bos_id)
    if kind not in ("llama2", "mistral"):  # there an answer continues the line of the question
        assert chat.ids == whole


def test_a_model_without_a_template_gets_one_that_begins_as_its_texts_do() -> None:
    tokenizer = read_tokenizer(files("gemma"))
    with ChatTemplate(template_for(tokenizer)) as template:
        ids = template.encode(tokenizer, TALK[1:2])
    assert ids[0] == tokenizer.bos_id
    assert ids.count(tokenizer.bos_id) == 1


def test_variables_that_are_not_given_are_as_in_transformers(tmp_path: Path) -> None:
    source = (
        "{{ tools is none }} {{ documents is none }} {{ unk_token is defined }} "
        "{{ pad_token }} {{ bos_token }} {{ {'b': 1, 'a': 'é'} | tojson(sort_keys=true) }}"
    )
    tokenizer = read_tokenizer(files("gemma") | {"chat_template.jinja": source.encode()})
    peer = transformers_tokenizer(tokenizer, tmp_path)
    with ChatTemplate(source) as template:
        ours = template.render(
            TALK, add_generation_prompt=False, variables=dict(tokenizer.special_names)
        )
    assert ours == peer.apply_chat_template(TALK, tokenize=False)
