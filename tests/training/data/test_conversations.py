from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.errors import ArtifactError, CorpusError
from ingot.model import Tokenizer
from ingot.model.chat import ChatTemplate
from ingot.training.data.conversations import read_examples

USER = {"role": "user", "content": "How many?"}
ANSWER = {"role": "assistant", "content": "Three."}


@pytest.fixture(scope="module")
def template() -> Iterator[ChatTemplate]:
    with ChatTemplate() as made:
        yield made


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(*talks: Any) -> list[Path]:
        path = tmp_path / "talks.jsonl"
        path.write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in talks))
        return [path]

    return write


def test_conversations_become_tokens(
    write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    talks = [
        [USER, ANSWER],
        [{"role": "system", "content": "Be brief."}, USER, ANSWER, USER, ANSWER],
    ]
    examples = read_examples(write(*talks), tokenizer, template, context=200)
    assert (len(examples), examples.cut, examples.left_out) == (2, 0, 0)
    assert examples.shapes == {"messages": 2}
    for number, talk in enumerate(talks):
        start, end = examples.starts[number : number + 2]
        (expected,) = template.encode_answers(tokenizer, [talk])
        np.testing.assert_array_equal(examples.ids[start:end], expected.ids)
        np.testing.assert_array_equal(examples.answers[start:end], expected.answers)


def test_long_conversations_are_cut(
    write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    long = [USER, {"role": "assistant", "content": "again and " * 50}]
    unanswered = [{"role": "user", "content": "again and " * 50}, ANSWER]
    paths = write([USER, ANSWER], long, unanswered)
    examples = read_examples(paths, tokenizer, template, context=40)
    assert (len(examples), examples.cut, examples.left_out) == (2, 2, 1)
    assert np.diff(examples.starts).tolist()[1] == 41
    with pytest.raises(
        CorpusError, match=r"talks\.jsonl:2: has \d+ tokens, a sequence of context 40"
    ):
        read_examples(paths, tokenizer, template, context=40, too_long="refuse")


def test_an_example_may_fill_a_window_exactly(
    write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    length = len(template.encode(tokenizer, [USER, ANSWER], add_generation_prompt=False))
    read_examples(write([USER, ANSWER]), tokenizer, template, context=length - 1, too_long="refuse")
    with pytest.raises(CorpusError):
        read_examples(
            write([USER, ANSWER]), tokenizer, template, context=length - 2, too_long="refuse"
        )


def test_nothing_left_to_learn_is_refused(
    write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    with pytest.raises(CorpusError, match="no answer begins within a sequence of 9 tokens"):
        read_examples(write([USER, ANSWER]), tokenizer, template, context=8)


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        (None, "has no list of 'messages'"),
        ([], "has no list of 'messages'"),
        ({}, "has no list of 'messages'"),
        (["hello"], "message 1 is text, not an object"),
        ([USER, {"content": "x"}], "message 2 has no role"),
        ([{"role": "wizard", "content": "x"}], "message 1 has unknown role 'wizard'"),
        ([{"role": ["user"], "content": "x"}], "message 1 has unknown role a list"),
        ([{"role": "user"}], "message 1 has no content"),
        ([{"role": "user", "content": None}], "content of message 1 is null, not text"),
        (
            [{"role": "user", "content": [{"type": "text"}]}],
            "part 1 of content of message 1 is null, not text",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "part 1 of content of message 1 is 'image_url', not text",
        ),
        ([USER, {**ANSWER, "tool_calls": [{"function": {}}]}], "the call of message 2 has no name"),
        (
            [USER, {**ANSWER, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}],
            "arguments of the call of message 2 are not an object",
        ),
        ([{"role": "user", "content": "  "}], "content of message 1 is empty"),
        ([USER, {**ANSWER, "weight": 0}], "message 2 has 'weight', which would be ignored"),
        ([USER], "has no assistant message"),
    ],
)
def test_a_line_that_is_no_conversation_is_named(
    messages: Any, problem: str, write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    (path,) = write([USER, ANSWER], messages)
    with pytest.raises(CorpusError) as caught:
        read_examples([path], tokenizer, template, context=100)
    assert str(caught.value).startswith(f"{path}:2: {problem}")
    assert caught.value.fix
    assert "\n" not in str(caught.value)


def test_a_template_that_refuses_a_line_is_quoted(write: Any, tokenizer: Tokenizer) -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}{{ m.role + ' ' + m.content }}{% endfor %}"
        "{% if add_generation_prompt %}assistant {% endif %}"
    )
    talks = [[USER, ANSWER]] * 70 + [[{"role": "system", "content": "x"}, USER, ANSWER]]
    with (
        ChatTemplate(source) as template,
        pytest.raises(CorpusError, match=r"talks\.jsonl:71: the chat template refuses.*no system"),
    ):
        read_examples(write(*talks), tokenizer, template, context=100)


def test_a_template_that_hangs_is_the_templates_fault(write: Any, tokenizer: Tokenizer) -> None:
    source = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with ChatTemplate(source, seconds=0.2) as template, pytest.raises(ArtifactError):
        read_examples(write([USER, ANSWER]), tokenizer, template, context=100)
