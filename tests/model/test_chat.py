from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ingot
from ingot.errors import UsageError
from ingot.model import Tokenizer
from ingot.model.chat import DEFAULT_TEMPLATE, ChatTemplate, _Shield
from ingot.model.tokenizer import END_OF_TEXT

SOURCE = Path(ingot.__file__).parent
TOKENIZER = Tokenizer.train([(SOURCE / "files.py").read_text()], 300)
EOS = TOKENIZER.eos_id
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "Two?"},
    {"role": "assistant", "content": "2, of course."},
]


@pytest.fixture(scope="module")
def template() -> Iterator[ChatTemplate]:
    with ChatTemplate() as made:
        yield made


def with_chatml_tokens() -> Tokenizer:
    """The same tokenizer with two more control tokens, as published models have them."""
    data = json.loads(TOKENIZER.to_json())
    for index, text in enumerate(("<|im_start|>", "<|im_end|>")):
        like = data["added_tokens"][0]
        data["added_tokens"].append(like | {"id": TOKENIZER.vocab_size + index, "content": text})
    return Tokenizer.from_json(json.dumps(data))


def test_the_default_is_roles_texts_and_ends(template: ChatTemplate) -> None:
    text = template.render(TALK[:2], add_generation_prompt=True)
    assert text == f"system\nBe brief.{END_OF_TEXT}user\nOne?{END_OF_TEXT}assistant\n"
    assert template.encode(TOKENIZER, TALK[:2]) == [
        *TOKENIZER.encode("system\nBe brief."),
        EOS,
        *TOKENIZER.encode("user\nOne?"),
        EOS,
        *TOKENIZER.encode("assistant\n"),
    ]


@pytest.mark.parametrize("source", [DEFAULT_TEMPLATE, CHATML])
def test_transformers_reads_it_the_same(source: str, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    path = tmp_path / "tokenizer.json"
    path.write_text(with_chatml_tokens().to_json())
    peer = PreTrainedTokenizerFast(tokenizer_file=str(path), eos_token=END_OF_TEXT)
    with ChatTemplate(source) as ours:
        for prompt in (False, True):
            wanted: Any = peer.apply_chat_template(
                TALK, chat_template=source, tokenize=False, add_generation_prompt=prompt
            )
            assert ours.render(TALK, add_generation_prompt=prompt) == wanted
            ids = ours.encode(with_chatml_tokens(), TALK, add_generation_prompt=prompt)
            assert ids == peer(wanted, add_special_tokens=False)["input_ids"]


def answers_of(chat: Any, tokenizer: Tokenizer) -> list[str]:
    """The text of each run of answer tokens, control tokens written out."""
    names = {token_id: text for text, token_id in tokenizer.special_tokens.items()}
    found, inside = [], False
    for token, is_answer in zip(chat.ids, chat.answers, strict=True):
        if is_answer:
            found = found if inside else [*found, b""]
            found[-1] += names[token].encode() if token in names else tokenizer.token_bytes(token)
        inside = is_answer
    return [text.decode() for text in found]


def test_answers_are_found_with_their_ends(template: ChatTemplate) -> None:
    (chat,) = template.encode_answers(TOKENIZER, [TALK])
    assert chat.ids == template.encode(TOKENIZER, TALK, add_generation_prompt=False)
    assert answers_of(chat, TOKENIZER) == [f"1{END_OF_TEXT}", f"2, of course.{END_OF_TEXT}"]


def test_answers_are_found_under_other_templates() -> None:
    tokenizer = with_chatml_tokens()
    with ChatTemplate(CHATML) as template:
        (chat,) = template.encode_answers(tokenizer, [TALK])
    assert answers_of(chat, tokenizer) == ["1<|im_end|>\n", "2, of course.<|im_end|>\n"]


def test_what_precedes_an_answer_is_what_a_server_will_see(template: ChatTemplate) -> None:
    (chat,) = template.encode_answers(TOKENIZER, [TALK])
    last = len(chat.ids) - chat.answers[::-1].index(False)
    assert chat.ids[:last] == template.encode(TOKENIZER, TALK[:-1])


def test_many_conversations_are_each_alone(template: ChatTemplate) -> None:
    talks = [TALK, TALK[:2], TALK[:3], [], TALK[2:]]
    together = template.encode_answers(TOKENIZER, talks)
    assert together == [template.encode_answers(TOKENIZER, [talk])[0] for talk in talks]


def test_a_conversation_without_answers_has_none(template: ChatTemplate) -> None:
    (chat,) = template.encode_answers(TOKENIZER, [TALK[:2]])
    assert not any(chat.answers)
    assert chat.ids == template.encode(TOKENIZER, TALK[:2], add_generation_prompt=False)


def test_a_template_that_rewrites_the_past_is_refused() -> None:
    source = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    with (
        ChatTemplate(source) as template,
        pytest.raises(UsageError, match="answers cannot be found"),
    ):
        template.encode_answers(TOKENIZER, [TALK])


pieces = st.lists(
    st.sampled_from(["<|", "<|endo", "ftext|>", "f", END_OF_TEXT, "<", "user\n", "é", "\ue000"]),
    max_size=6,
).map("".join)


@settings(max_examples=30, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=4))
def test_no_role_can_speak_as_another(template: ChatTemplate, contents: list[str]) -> None:
    talk = [{"role": "user", "content": content} for content in contents]
    ids = template.encode(TOKENIZER, talk, add_generation_prompt=False)
    said, turn = [], []
    for token in ids:
        if token == EOS:
            said.append(TOKENIZER.decode(turn))
        turn = [] if token == EOS else [*turn, token]
    assert said == [f"user\n{content}" for content in contents]
    assert not turn


@settings(max_examples=30, deadline=None)
@given(st.lists(pieces, min_size=2, max_size=5))
def test_nor_by_parts_that_a_template_joins(contents: list[str]) -> None:
    with_parts = [{"role": "user", "content": contents}]
    joined = JOINING.encode(TOKENIZER, with_parts, add_generation_prompt=False)
    assert EOS not in joined
    assert TOKENIZER.decode(joined) == "".join(contents)


JOINING = ChatTemplate("{% for m in messages %}{{ m.content | join }}{% endfor %}")


def test_half_a_surrogate_pair_is_refused(template: ChatTemplate) -> None:
    with pytest.raises(UsageError, match="surrogate"):
        template.encode(TOKENIZER, [{"role": "user", "content": "\ud800"}])


def test_further_variables_reach_the_template() -> None:
    with ChatTemplate("{{ tools | tojson }}{{ bos_token }}") as template:
        tools = [{"name": END_OF_TEXT, "\ue000": None}]
        ids = template.encode(TOKENIZER, [], variables={"tools": tools})
    assert EOS not in ids
    assert TOKENIZER.decode(ids) == json.dumps(tools, ensure_ascii=False)


def test_a_text_of_nothing_but_control_tokens_is_read_in_linear_time() -> None:
    """FAULTS A6: a million of them; copying the whole text for each would take hours."""
    shield = _Shield(TOKENIZER, "", [])
    hidden = shield.hide(END_OF_TEXT * 1_000_000)
    assert len(hidden) == (len(END_OF_TEXT) + 1) * 1_000_000
    assert END_OF_TEXT not in hidden
