"""Conversations to learn the assistant's part of."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ingot.errors import CorpusError, IngotError, UsageError
from ingot.model import Tokenizer
from ingot.model.chat import ANSWERER, ChatTemplate, EncodedChat
from ingot.training.data.records import Record, read_records
from ingot.training.data.shapes import conversation_of

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
    shapes: Mapping[str, int] = field(default_factory=dict)
    """Conversations read in each shape, such as ``ShareGPT``."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def part(self, chosen: NDArray[np.bool_]) -> Examples:
        """Return the examples for which ``chosen``, (examples,), is true."""
        tokens = np.repeat(chosen, np.diff(self.starts))
        starts = np.concatenate([[0], np.cumsum(np.diff(self.starts)[chosen])])
        return dataclasses.replace(
            self, ids=self.ids[tokens], answers=self.answers[tokens], starts=starts
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
        paths: JSONL files or JSON arrays of conversations, in a shape of ``shapes``.
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
    shapes = Counter[str]()
    talks = ((record, answered_conversation(record, shapes)) for record in read_records(paths))
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
    return Examples(np.concatenate(ids), np.concatenate(answers), starts, cut, left_out, shapes)


def answered_conversation(record: Record, shapes: Counter[str]) -> list[dict[str, str]]:
    """Return a record's conversation; its shape is counted.

    Raises:
        CorpusError: it has none, or one without an answer, or a message that cannot be used.
    """
    shape, messages = conversation_of(record)
    if not any(message["role"] == ANSWERER for message in messages):
        record.refuse("has no assistant message", "add the answer to learn, or remove the line")
    shapes[shape] += 1
    return messages


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
