from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.errors import CorpusError
from ingot.model import Tokenizer
from ingot.model.chat import ChatTemplate
from ingot.training.data.answers import ScoredTokens
from ingot.training.data.preference_pairs import read_pairs

TALK = [
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "Two?"},
]


@pytest.fixture(scope="module")
def template() -> Iterator[ChatTemplate]:
    with ChatTemplate() as made:
        yield made


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(*lines: Any) -> list[Path]:
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return [path]

    return write


def answer_of(answer: ScoredTokens, tokenizer: Tokenizer) -> str:
    assert answer.ids[answer.counted][-1] == tokenizer.eos_id
    return tokenizer.decode(answer.ids[answer.counted].tolist())


def test_a_conversation_is_answered_twice(
    write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    paths = write({"messages": TALK, "chosen": "2, of course", "rejected": "3"})
    pairs = read_pairs(paths, tokenizer, template, context=100)
    (pair,) = pairs.pairs
    prompt = template.encode(tokenizer, TALK)
    for answer, text in ((pair.chosen, "2, of course"), (pair.rejected, "3")):
        assert answer_of(answer, tokenizer) == text
        assert answer.ids[~answer.counted].tolist() == prompt
    assert (len(pairs), pairs.cut, pairs.left_out) == (1, 0, 0)


def test_a_plain_text_is_continued_twice(
    write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    paths = write({"prompt": "One, two,", "chosen": " three", "rejected": " five"})
    (pair,) = read_pairs(paths, tokenizer, template, context=100).pairs
    assert answer_of(pair.chosen, tokenizer) == " three"
    assert answer_of(pair.rejected, tokenizer) == " five"
    np.testing.assert_array_equal(
        pair.chosen.ids[~pair.chosen.counted], tokenizer.encode("One, two,")
    )


def test_a_template_that_ends_otherwise_than_it_continues_is_refused(
    write: Any, tokenizer: Tokenizer
) -> None:
    source = (
        "{% for m in messages %}{{ m.role + ':' + m.content + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% else %}(end){% endif %}"
    )
    with (
        ChatTemplate(source) as template,
        pytest.raises(CorpusError, match="answers cannot be found"),
    ):
        read_pairs(
            write({"messages": TALK, "chosen": "a", "rejected": "b"}),
            tokenizer,
            template,
            context=100,
        )


def test_lines_of_both_kinds_keep_their_order(
    write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    lines = [
        {"chosen": f"yes {number}", "rejected": f"no {number}"}
        | ({"messages": TALK} if number % 3 else {"prompt": "One"})
        for number in range(80)
    ]
    pairs = read_pairs(write(*lines), tokenizer, template, context=100).pairs
    for number, pair in enumerate(pairs):
        assert answer_of(pair.chosen, tokenizer) == f"yes {number}"
        assert answer_of(pair.rejected, tokenizer) == f"no {number}"
    assert len(pairs) == 80


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"prompt": "a", "chosen": "b"}, "has no 'rejected' answer"),
        ({"prompt": "a", "rejected": "b"}, "has no 'chosen' answer"),
        ({"prompt": "a", "chosen": None, "rejected": "b"}, "has no 'chosen' answer"),
        ({"prompt": "a", "chosen": "b", "rejected": ""}, "'rejected' is empty"),
        ({"prompt": "a", "chosen": ["b"], "rejected": "c"}, "message 1 is text, not an object"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "'chosen' and 'rejected' are the same"),
        ({"chosen": "b", "rejected": "c"}, "must have either 'prompt' or 'messages'"),
        (
            {"prompt": "a", "messages": TALK, "chosen": "b", "rejected": "c"},
            "must have either 'prompt' or 'messages'",
        ),
        ({"prompt": " ", "chosen": "b", "rejected": "c"}, "'prompt' is empty"),
        ({"messages": TALK[:2], "chosen": "b", "rejected": "c"}, "ends with an assistant message"),
        ({"messages": [{"content": "x"}], "chosen": "b", "rejected": "c"}, "message 1 has no role"),
    ],
)
def test_a_line_that_is_no_pair_is_named(
    line: Any, problem: str, write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    (path,) = write({"prompt": "a", "chosen": "b", "rejected": "c"}, line)
    with pytest.raises(CorpusError) as caught:
        read_pairs([path], tokenizer, template, context=100)
    assert str(caught.value).startswith(f"{path}:2: {problem}")
    assert caught.value.fix


def test_long_answers_are_cut_or_refused(
    write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    paths = write(
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": "a", "chosen": "b" + " and" * 60, "rejected": "c"},
        {"prompt": "a" + " and" * 60, "chosen": "b", "rejected": "c"},
    )
    pairs = read_pairs(paths, tokenizer, template, context=30)
    assert (len(pairs), pairs.cut, pairs.left_out) == (2, 2, 1)
    assert len(pairs.pairs[1].chosen.ids) == 31
    with pytest.raises(CorpusError, match=r"pairs\.jsonl:2: has \d+ tokens"):
        read_pairs(paths, tokenizer, template, context=30, too_long="refuse")


def test_nothing_left_to_learn_is_refused(
    write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    paths = write({"prompt": "a" + " and" * 60, "chosen": "b", "rejected": "c"})
    with pytest.raises(CorpusError, match="no two answers differ within a sequence of 9 tokens"):
        read_pairs(paths, tokenizer, template, context=8)


ASKED = TALK[-1]["content"]
GOOD, BAD = {"role": "assistant", "content": "2"}, {"role": "assistant", "content": "3"}


@pytest.mark.parametrize(
    "line",
    [
        {"chosen": [*TALK, GOOD], "rejected": [*TALK, BAD]},
        {"prompt": ASKED, "chosen": [*TALK, GOOD], "rejected": [*TALK, BAD], "score_chosen": 9},
        {"prompt": TALK, "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": TALK, "chosen": [*TALK, GOOD], "rejected": [*TALK, BAD]},
        {"prompt": TALK, "chosen": "2", "rejected": "3"},
        {"messages": TALK, "chosen": GOOD, "rejected": BAD},
        {
            "conversations": [
                {"from": "human" if turn["role"] == "user" else "gpt", "value": turn["content"]}
                for turn in TALK
            ],
            "chosen": {"from": "gpt", "value": "2"},
            "rejected": {"from": "gpt", "value": "3"},
        },
    ],
)
def test_answers_may_be_lists_of_messages(
    line: Any, write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    """FAULTS D12: DPO's list form, with and without ``prompt``."""
    read = read_pairs(write(line), tokenizer, template, context=100)
    (pair,) = read.pairs
    prompt = template.encode(tokenizer, TALK)
    for answer, text in ((pair.chosen, "2"), (pair.rejected, "3")):
        assert answer_of(answer, tokenizer) == text
        assert answer.ids[~answer.counted].tolist() == prompt
    assert sum(read.shapes.values()) == 1


def test_a_question_is_answered_twice(
    write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    line = {"system": "Be brief.", "question": "Two?", "chosen": "2", "rejected": "3"}
    (pair,) = read_pairs(write(line), tokenizer, template, context=100).pairs
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Two?"}]
    assert pair.chosen.ids[~pair.chosen.counted].tolist() == template.encode(tokenizer, asked)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"chosen": [*TALK, GOOD], "rejected": [TALK[0], BAD]}, "differ before their last message"),
        ({"chosen": [*TALK, GOOD], "rejected": TALK}, "'rejected' does not end with an assistant"),
        ({"chosen": [GOOD], "rejected": [BAD]}, "has no question to answer"),
        (
            {"prompt": "Else?", "chosen": [*TALK, GOOD], "rejected": [*TALK, BAD]},
            "'prompt' is not what 'chosen' answers",
        ),
        (
            {"chosen": [*TALK, GOOD], "rejected": [*TALK, {**GOOD, "name": "x"}]},
            "'chosen' and 'rejected' are the same",
        ),
    ],
)
def test_lists_that_are_no_pair_are_named(
    line: Any, problem: str, write: Any, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    with pytest.raises(CorpusError, match=problem):
        read_pairs(write(line), tokenizer, template, context=100)
