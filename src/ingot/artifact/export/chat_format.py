"""What a chat template writes around each message, found by rendering conversations with it.

ollama has templates in Go's language and knows a few published Jinja templates only. A template
that writes a fixed text before and after each message of a role, as nearly all do, is found out by
rendering, and the result is checked on further conversations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ingot.errors import IngotError, UsageError
from ingot.model.chat import ChatTemplate

_MARKS = ("Lorem ipsum S.", "Lorem ipsum U.", "Lorem ipsum A.", "Lorem ipsum V.")
_ROLES = ("system", "user", "assistant")
Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class ChatFormat:
    """The texts of a chat template."""

    beginning: str
    """Before everything."""
    around: Mapping[str, tuple[str, str]]
    """Before and after the text of a message, by its role."""
    asked: str
    """What an answer begins with."""
    system: str | None
    """The system message where a conversation has none."""

    def render(self, messages: Messages) -> str:
        """Return a conversation as text, as the Go template does."""
        if self.system is not None and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.system}, *messages]
        parts = [self.beginning]
        for message in messages:
            before, after = self.around[message["role"]]
            parts += [before, message["content"], after]
        return "".join([*parts, self.asked])

    def go_template(self) -> str:
        """Return it in the language of Go's ``text/template``, over ollama's ``.Messages``."""
        lines = ["{{- range .Messages }}"]
        if self.beginning:
            lines.insert(0, f"{{{{- {json.dumps(self.beginning, ensure_ascii=False)} }}}}")
        for number, role in enumerate(_ROLES):
            before, after = (json.dumps(each, ensure_ascii=False) for each in self.around[role])
            word = "else if" if number else "if"
            lines.append(f'{{{{- {word} eq .Role "{role}" }}}}')
            lines.append(f"{{{{- {before} }}}}{{{{ .Content }}}}{{{{ {after} -}}}}")
        lines += ["{{- end }}", "{{- end }}"]
        return "\n".join([*lines, f"{{{{- {json.dumps(self.asked, ensure_ascii=False)} }}}}"])


def chat_format(source: str, variables: Mapping[str, Any]) -> ChatFormat:
    """Return what a chat template writes around messages.

    Args:
        source: The template.
        variables: What it sees besides messages: its special tokens.

    Raises:
        UsageError: it does more than writing fixed texts around messages.
    """
    with ChatTemplate(source) as template:

        def render(*messages: tuple[str, str], asked: bool = True) -> str:
            given = [{"role": role, "content": content} for role, content in messages]
            return template.render(given, add_generation_prompt=asked, variables=variables)

        try:
            found = _found(render)
        except (IngotError, ValueError) as error:
            raise _too_much(str(error)) from error
        for conversation in _conversations():
            given = [{"role": role, "content": text} for role, text in conversation]
            if render(*conversation) != found.render(given):
                raise _too_much("it does not write the same around each message")
    return found


def _found(render: Any) -> ChatFormat:
    """Cut what a template makes of marked conversations at the marks.

    Raises:
        ValueError: a mark is missing, or the texts do not fit each other.
    """
    system, user, assistant, again = _MARKS
    turns = [("user", user), ("assistant", assistant), ("user", again)]
    before_user, between, before_again, end = _cut(render(*turns), user, assistant, again)
    _, after_user = _cut(render(("user", user), asked=False), user)
    *_, after_answer = _cut(render(*turns[:2], asked=False), user, assistant)
    asked, before_answer = _without(end, after_user), _without(between, after_user)
    opening = _without(before_again, after_answer)
    before_system, after_system, *_ = _cut(render(("system", system), ("user", user)), system, user)
    after_system = _without_end(after_system, opening)
    preamble = _without_end(before_user, opening)
    beginning, default = preamble, None
    if preamble and before_system and preamble.startswith(before_system):
        if not preamble.endswith(after_system):
            raise ValueError("it begins otherwise without a system message")
        beginning = ""
        default = preamble[len(before_system) : len(preamble) - len(after_system)]
    else:
        before_system = _without(before_system, beginning)
    around = {
        "system": (before_system, after_system),
        "user": (opening, after_user),
        "assistant": (before_answer, after_answer),
    }
    return ChatFormat(beginning, around, asked, default)


def _conversations() -> list[list[tuple[str, str]]]:
    """Return conversations to check a format with."""
    long = [("user", "One?\nTwo?"), ("assistant", "Yes,\n\nno."), ("user", "And {{ three }}?")]
    return [
        [("user", "Hi")],
        [("system", "Be brief.\nBe kind."), ("user", "Hi")],
        long,
        [("system", "Be brief."), *long],
        [*long, ("assistant", "4"), ("user", "é ☃")],
    ]


def _cut(text: str, *marks: str) -> list[str]:
    """Return the texts before, between and after marks."""
    places = [text.index(mark) for mark in marks]
    if places != sorted(places) or any(text.count(mark) != 1 for mark in marks):
        raise ValueError("it writes messages in another order, or twice")
    ends = [0, *(place + len(mark) for place, mark in zip(places, marks, strict=True))]
    parts = [text[end:place] for end, place in zip(ends, places, strict=False)]
    return [*parts, text[ends[-1] :]]


def _without(text: str, beginning: str) -> str:
    if not text.startswith(beginning):
        raise ValueError("what follows a message depends on the next one")
    return text[len(beginning) :]


def _without_end(text: str, end: str) -> str:
    if not text.endswith(end):
        raise ValueError("what precedes a message depends on the one before")
    return text[: len(text) - len(end)]


def _too_much(why: str) -> UsageError:
    return UsageError(
        f"cannot be written as a template of ollama: {why}",
        where="chat template",
        fix="export the model with --to gguf, which keeps the template as it is",
    )
