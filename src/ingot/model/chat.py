"""Conversations as token ids, by the model's chat template.

A template is text with control tokens in it, and so may a user's message be.
Here only the template's own control tokens count: one that is written out in a
message is plain text, so a message cannot imitate another role.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Self, TypeAlias

from ingot.errors import UsageError
from ingot.model.special_tokens import END_OF_TEXT
from ingot.model.template_process import TemplateProcess
from ingot.model.tokenizer import Tokenizer

DEFAULT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message.role + '\\n' + message.content + eos_token }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant\\n' }}{% endif %}"
)
"""Each message is its role on a line, its text, and the end of text.

It needs no control token but the one that every tokenizer here has; an answer
ends as a document does, so a server stops there.
"""


def template_for(tokenizer: Tokenizer, *, tools: bool = False) -> str:
    """Return the chat template of a model as transformers chooses it.

    Args:
        tokenizer: The model's.
        tools: Whether a conversation has tools; the template "tool_use" is for these.
    """
    templates = tokenizer.chat_templates
    if tools and "tool_use" in templates:
        return templates["tool_use"]
    if "default" in templates:
        return templates["default"]
    return "{{ bos_token }}" * bool(tokenizer.prefix) + DEFAULT_TEMPLATE


ANSWERER = "assistant"
_SECONDS, _CHARACTERS = 2.0, 16 << 20
_MARKS = range(0xE000, 0xF900)  # code points for private use
_USED_MARK = re.compile(f"[{chr(_MARKS[0])}-{chr(_MARKS[-1])}]")

# Unicode's property White_Space, as the library strips it.
_WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)

Encode: TypeAlias = Callable[[str, bool], list[int]]
"""Encodes a text, given whether it continues other text (``Tokenizer.encode``)."""
Messages = Sequence[Mapping[str, Any]]
"""A conversation: each message has a role and a content, and any field that a template uses."""


def most_characters(tokenizer: Tokenizer, max_context: int) -> int:
    """Return the length of the longest text that can fit a context of so many tokens.

    Twice the bytes of its longest tokens, because each control token that is written out in a
    message has a mark in it while the template is rendered.
    """
    return min(_CHARACTERS, 2 * max_context * tokenizer.longest_token + 1024)


@dataclass(frozen=True)
class EncodedChat:
    """A conversation as tokens."""

    ids: list[int]
    answers: list[bool]
    """Whether each token belongs to an answer: its text, or the tokens that end it."""


class ChatTemplate:
    """Jinja template from messages to text; close it, or use it as a context manager.

    It is rendered by a separate process, in Jinja's sandbox, with limits of
    time, memory and length. Besides ``messages`` and ``add_generation_prompt``
    a template sees the special tokens by their names, such as ``bos_token``, and ``tools`` and
    ``documents``, which are None unless given. It behaves as under transformers'
    ``apply_chat_template``.

    Args:
        source: The template.
        where: What to call it in an error.
        seconds: Longest time for rendering.
        characters: Longest text it may make.

    Raises:
        ArtifactError: the template is not valid Jinja.
    """

    def __init__(
        self,
        source: str = DEFAULT_TEMPLATE,
        *,
        where: object = "chat template",
        seconds: float = _SECONDS,
        characters: int = _CHARACTERS,
    ) -> None:
        self.source, self._where, self.characters = source, where, characters
        self._process = TemplateProcess(source, where=where, seconds=seconds, characters=characters)

    def render(
        self,
        messages: Messages,
        *,
        add_generation_prompt: bool,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the conversation as text.

        Args:
            messages: The messages; JSON values.
            add_generation_prompt: End with what an answer begins with.
            variables: Further variables for the template, such as ``tools``.

        Raises:
            UsageError: the template refuses the conversation, or fails on it.
            ArtifactError: it takes too long, or too much memory, or makes too long a text.
        """
        return self._process.render([_variables(messages, add_generation_prompt, variables)])[0]

    def encode(
        self,
        tokenizer: Tokenizer,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        variables: Mapping[str, Any] | None = None,
        encode: Encode | None = None,
    ) -> list[int]:
        """Return the conversation as token ids; raises as ``render`` does.

        Nothing is added to what the template writes: a model whose texts begin with ``bos_token``
        has a template that writes it.

        Args:
            tokenizer: The model's.
            messages: The messages; JSON values.
            add_generation_prompt: End with what an answer begins with.
            continue_final_message: End with the last message's text, for the model to continue it,
                without what the template writes after it.
            variables: Further variables for the template.
            encode: What encodes plain text, given whether it continues other text; the tokenizer
                itself by default.

        Raises:
            UsageError: also if the template does not write the last message's text.
        """
        shield = _Shield(tokenizer, self.source, [messages, variables], encode)
        hidden = shield.hide(messages)
        if continue_final_message:
            hidden[-1] = shield.with_end_marked(hidden[-1])
        text = self.render(
            hidden,
            add_generation_prompt=add_generation_prompt,
            variables={**tokenizer.special_names, **shield.hide(variables or {})},
        )
        return shield.encode(shield.until_marked_end(text) if continue_final_message else text)

    def encode_answers(
        self, tokenizer: Tokenizer, conversations: Sequence[Messages]
    ) -> list[EncodedChat]:
        """Return complete conversations as tokens, with the assistant's tokens marked.

        Each answer is encoded apart from what precedes it, as it is when a
        model is asked for it. Many conversations at once are much faster.

        Raises:
            UsageError: as ``render``; also if the template does not let a conversation
                grow at its end, so that answers cannot be told from the rest.
            ArtifactError: as ``render``.
        """
        shields = [_Shield(tokenizer, self.source, messages) for messages in conversations]
        wanted = [
            _beginnings(shield.hide(messages), tokenizer.special_names)
            for shield, messages in zip(shields, conversations, strict=True)
        ]
        texts = iter(self._process.render([each for beginnings in wanted for each in beginnings]))
        return [
            self._encode_parts(shield, [next(texts) for _ in beginnings])
            for shield, beginnings in zip(shields, wanted, strict=True)
        ]

    def close(self) -> None:
        """End the rendering process."""
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _encode_parts(self, shield: _Shield, texts: Sequence[str]) -> EncodedChat:
        """Encode what ``_beginnings`` rendered: the whole text, cut where a shorter one ends."""
        *borders, whole = texts
        ids: list[int] = []
        answers: list[bool] = []
        end = 0
        for number, text in enumerate([*borders, whole]):
            if len(text) < end or not whole.startswith(text):
                raise UsageError(
                    "renders the beginning of a conversation otherwise than in the whole, "
                    "so its answers cannot be found",
                    where=self._where,
                    fix="train with the default template",
                )
            part = shield.encode(whole[end : len(text)])
            ids += part
            answers += [number % 2 == 1] * len(part)
            end = len(text)
        return EncodedChat(ids, answers)


class _Shield:
    """Protection against control tokens that are written out in messages.

    A mark, a character that occurs nowhere else, is put inside each of them
    before the template sees it, and taken out after the template's own
    control tokens are found. A message that only begins one at its end is
    marked too, because a template may join it to the next.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str,
        given: Any,
        encode: Encode | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._encode_plain = encode or _encoder(tokenizer)
        self._before: Literal["nothing", "text", "special"] = "nothing"
        self._strips = False
        specials = sorted(tokenizer.special_tokens, key=len, reverse=True)
        self._specials = re.compile("|".join(map(re.escape, specials)))
        self._anywhere = re.compile(f"(?={self._specials.pattern})")
        self._beginnings = {text[:end] for text in specials for end in range(1, len(text))}
        self._longest = len(specials[0]) - 1
        # Found by the expression in a third of the time of a set of all characters, under the GIL.
        used = {mark for text in (template, *_texts(given)) for mark in _USED_MARK.findall(text)}
        free = [chr(code) for code in _MARKS if chr(code) not in used][:2]
        if len(free) < 2:
            raise UsageError("use every private-use character", where="messages")
        self._mark, self._end = free

    def hide(self, value: Any) -> Any:
        """Return a JSON value with every control token in its texts marked."""
        if isinstance(value, str):
            return self._hide_text(value)
        if isinstance(value, Mapping):
            return {self.hide(key): self.hide(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide(item) for item in value]
        return value

    def with_end_marked(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return a message with a mark behind its text, which ``until_marked_end`` finds."""
        return {**message, "content": (message.get("content") or "") + self._end}

    def until_marked_end(self, text: str) -> str:
        """Return rendered text up to the marked end of a message."""
        before, mark, _ = text.rpartition(self._end)
        if not mark:
            raise UsageError("are not written by the chat template to the end", where="messages")
        return before

    def encode(self, text: str) -> list[int]:
        """Return the token ids of rendered text, which follows what was encoded before."""
        ids: list[int] = []
        end = 0
        for special in self._specials.finditer(text):
            before, after = self._tokenizer.strips.get(special[0], (False, False))
            ids += self._plain(text[end : special.start()], strip_end=before)
            ids.append(self._tokenizer.special_tokens[special[0]])
            self._before, self._strips = "special", after
            end = special.end()
        return ids + self._plain(text[end:])

    def _hide_text(self, text: str) -> str:
        starts = {match.start() for match in self._anywhere.finditer(text)}
        for start in range(max(0, len(text) - self._longest), len(text)):
            if text[start:] in self._beginnings:
                starts.add(start)
        # Joined once: a text of nothing but control tokens has tens of thousands of them.
        ends = [start + 1 for start in sorted(starts)]
        parts = [text[begin:end] for begin, end in pairwise([0, *ends, len(text)])]
        return self._mark.join(parts)

    def _plain(self, text: str, *, strip_end: bool = False) -> list[int]:
        """Return the token ids of text between special tokens, which may take its white space."""
        if self._strips:
            text = text.lstrip(_WHITE_SPACE)
        if strip_end:
            text = text.rstrip(_WHITE_SPACE)
        text = text.replace(self._mark, "")
        if not text:
            return []
        prefix_follows_special = self._tokenizer.layout.prefix == "every"
        continues = self._before == "text" or (
            self._before == "special" and not prefix_follows_special
        )
        self._before, self._strips = "text", False
        return self._encode_plain(text, continues)


def _encoder(tokenizer: Tokenizer) -> Encode:
    return lambda text, continues: tokenizer.encode(text, continues=continues)


def _beginnings(messages: Messages, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return variables to render a conversation up to and with each answer, then whole."""
    wanted = []
    for index, message in enumerate(messages):
        if message.get("role") == ANSWERER:
            wanted += [(messages[:index], True), (messages[: index + 1], False)]
    return [_variables(some, prompt, names) for some, prompt in [*wanted, (messages, False)]]


def _variables(
    messages: Messages, add_generation_prompt: bool, further: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "eos_token": END_OF_TEXT,
        "tools": None,
        "documents": None,
        **(further or {}),
        "messages": list(messages),
        "add_generation_prompt": add_generation_prompt,
    }


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                "hold half a surrogate pair, which is not text", where="messages"
            ) from error
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
