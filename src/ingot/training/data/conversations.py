"""Chat JSONL: conversations to learn the assistant's part of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ingot.corpus.reading.jsonl import kind_of
from ingot.errors import CorpusError, IngotError, UsageError
from ingot.model import Tokenizer
from ingot.model.chat import ANSWERER, ChatTemplate, EncodedChat
from ingot.training.data.records import Record, read_records

ROLES = ("system", "user", ANSWERER)
AT_ONCE = 64
"""Conversations rendered in one go: each go waits for another process."""

TooLong = Literal["cut", "refuse"]
"""What becomes of an example that is longer than a sequence."""


@dataclass(frozen=True)
class Examples:
    """Conversations as tokens, one after the other."""

    ids: NDArray[np.int32]
    """All tokens, (N,)."""
    answers: NDArray[np.bool_]
    """Which of them the assistant said, (N,); at least one in each example."""
    starts: NDArray[np.int64]
    """Where each example begins, and where the last one ends: (examples + 1,)."""
    cut: int
    """Examples that lost their end because they were too long."""
    left_out: int
    """Examples of which no answer was left once they were cut."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def part(self, chosen: NDArray[np.bool_]) -> Examples:
        """Return the examples for which ``chosen``, (examples,), is true."""
        tokens = np.repeat(chosen, np.diff(self.starts))
        starts = np.concatenate([[0], np.cumsum(np.diff(self.starts)[chosen])])
        return Examples(
            self.ids[tokens], self.answers[tokens], starts, cut=self.cut, left_out=self.left_out
        )

    def contents(self) -> Iterator[bytes]:
        """Yield each example's tokens."""
        for start, stop in pairwise(self.starts):
            yield self.ids[start:stop].tobytes()


def read_examples(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    *,
    context: int,
    too_long: TooLong = "cut",
) -> Examples:
    """Read conversations and encode them; none is longer than ``context + 1`` tokens.

    Args:
        paths: JSONL files, each line ``{"messages": [{"role": ..., "content": ...}, ...]}``.
        tokenizer: The model's.
        template: Turns a conversation into text.
        context: Tokens that a sequence predicts.
        too_long: Whether a longer conversation loses its end or is refused.

    Raises:
        CorpusError: a file cannot be read, a line is not a conversation with an answer, or is too
            long, or nothing is left to learn from.
        ArtifactError: the template does something it must not.
    """
    ids: list[NDArray[np.int32]] = []
    answers: list[NDArray[np.bool_]] = []
    cut = left_out = 0
    talks = ((record, messages_of(record, answered=True)) for record in read_records(paths))
    for record, chat in encode(talks, tokenizer, template):
        if len(chat.ids) > context + 1:
            if too_long == "refuse":
                refuse_long(record, len(chat.ids), context)
            cut += 1
        said = np.array(chat.answers[: context + 1])
        if not said[1:].any():  # nothing predicts a sequence's first token
            left_out += 1
            continue
        ids.append(np.array(chat.ids[: context + 1], dtype=np.int32))
        answers.append(said)
    if not ids:
        raise CorpusError(
            f"no answer begins within a sequence of {context + 1} tokens",
            where=", ".join(map(str, paths)),
            fix="raise the context, or shorten the conversations",
        )
    starts = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    return Examples(np.concatenate(ids), np.concatenate(answers), starts, cut, left_out)


def messages_of(record: Record, *, answered: bool) -> list[dict[str, str]]:
    """Return a line's messages, checked.

    Args:
        record: The line.
        answered: Whether an assistant's message is wanted, or the last message must be
            one that an assistant can answer.

    Raises:
        CorpusError: there are none, or one has no role, an unknown role, no content, empty
            content, content that is not text, or further keys.
    """
    messages = record.values.get("messages")
    if not isinstance(messages, list) or not messages:
        record.refuse("has no list of 'messages'", 'write {"messages": [...]}, one message or more')
    checked = [_message(record, number, message) for number, message in enumerate(messages, 1)]
    if answered and not any(message["role"] == ANSWERER for message in checked):
        record.refuse("has no assistant message", "add the answer to learn, or remove the line")
    if not answered and checked[-1]["role"] == ANSWERER:
        record.refuse("ends with an assistant message", "end it with what is to be answered")
    return checked


def encode(
    talks: Iterable[tuple[Record, list[dict[str, str]]]],
    tokenizer: Tokenizer,
    template: ChatTemplate,
) -> Iterator[tuple[Record, EncodedChat]]:
    """Encode lines' messages, many at once.

    Raises:
        CorpusError: the template refuses a line.
        ArtifactError: the template does something it must not.
    """
    left = iter(talks)
    while block := list(islice(left, AT_ONCE)):
        try:
            chats = template.encode_answers(tokenizer, [messages for _, messages in block])
        except IngotError:
            # One by one, to find the line; or too much for once was not too much for each.
            chats = [_encode(record, messages, tokenizer, template) for record, messages in block]
        yield from zip((record for record, _ in block), chats, strict=True)


def refuse_long(record: Record, tokens: int, context: int) -> None:
    """Raise a ``CorpusError`` about a line that does not fit a sequence."""
    record.refuse(
        f"has {tokens} tokens, a sequence of context {context} holds {context + 1}",
        "raise the context, shorten the line, or let long lines be cut",
    )


def _encode(
    record: Record, messages: list[dict[str, str]], tokenizer: Tokenizer, template: ChatTemplate
) -> EncodedChat:
    try:
        return template.encode_answers(tokenizer, [messages])[0]
    except UsageError as error:
        raise CorpusError(
            f"the {error.where} {error.what}", where=record.origin, fix=error.fix
        ) from error


def _message(record: Record, number: int, message: Any) -> dict[str, str]:
    name = f"message {number}"
    if not isinstance(message, dict):
        record.refuse(f"{name} is {kind_of(message)}, not an object", "give it role and content")
    if "role" not in message:
        record.refuse(f"{name} has no role", f"give it one of {', '.join(ROLES)}")
    role = message["role"]
    if role not in ROLES:
        shown = repr(role[:40]) if isinstance(role, str) else kind_of(role)
        record.refuse(f"{name} has unknown role {shown}", f"use one of {', '.join(ROLES)}")
    if further := message.keys() - {"role", "content"}:
        record.refuse(
            f"{name} has {sorted(further)[0][:40]!r}, which would be ignored",
            "keep role and content only",
        )
    if "content" not in message:
        record.refuse(f"{name} has no content", "give it as text")
    return {"role": role, "content": record.checked(message["content"], f"content of {name}")}
