"""Preference pairs: a prompt, the answer that is wanted, and one that is not."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingot.errors import CorpusError
from ingot.model import Tokenizer
from ingot.model.chat import ANSWERER, ChatTemplate, EncodedChat
from ingot.training.data.answers import ScoredTokens
from ingot.training.data.conversations import AT_ONCE, TooLong, encode, refuse_long
from ingot.training.data.messages import described_tools
from ingot.training.data.records import Record, read_records
from ingot.training.data.shapes import Messages, answer_of, question_of

_SIDES = ("chosen", "rejected")


@dataclass(frozen=True, eq=False)
class Pair:
    """Two answers to one prompt."""

    chosen: ScoredTokens
    rejected: ScoredTokens


@dataclass(frozen=True)
class Pairs:
    """All pairs of some files."""

    pairs: list[Pair]
    cut: int
    """Pairs of which an answer lost its end because it was too long."""
    left_out: int
    """Pairs whose answers did not differ any more once they were cut."""
    shapes: Mapping[str, int] = field(default_factory=dict)
    """Pairs read in each shape, such as ``messages``."""

    def __len__(self) -> int:
        return len(self.pairs)

    def part(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Return the pairs for which ``chosen``, (pairs,), is true."""
        kept = [pair for pair, keep in zip(self.pairs, chosen, strict=True) if keep]
        return dataclasses.replace(self, pairs=kept)

    def contents(self) -> Iterator[bytes]:
        """Yield each pair's tokens."""
        for pair in self.pairs:
            yield pair.chosen.ids.tobytes() + b"|" + pair.rejected.ids.tobytes()


def read_pairs(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    *,
    context: int,
    too_long: TooLong = "cut",
) -> Pairs:
    """Read pairs and encode them; no prompt with an answer has more than ``context + 1`` tokens.

    Args:
        paths: JSONL files or JSON arrays. A record has ``chosen`` and ``rejected``: two texts
            that continue the plain text ``prompt``; two answers, as texts or messages, to a
            conversation; or two whole conversations that differ in their last answer.
        tokenizer: The model's.
        template: Turns a conversation into text.
        context: Tokens that a sequence predicts.
        too_long: Whether a longer answer loses its end or is refused.

    Raises:
        CorpusError: a file cannot be read; a line lacks a side, has two equal ones, no prompt
            or two, or is too long; or nothing is left to learn from.
        ArtifactError: the template does something it must not.
    """
    pairs: list[Pair] = []
    cut = left_out = 0
    shapes = Counter[str]()
    for record, whole in _whole_pairs(read_records(paths), tokenizer, template, shapes):
        longest = max(len(whole.chosen.ids), len(whole.rejected.ids))
        if longest > context + 1:
            if too_long == "refuse":
                refuse_long(record, longest, context)
            cut += 1
        pair = Pair(whole.chosen.cut(context + 1), whole.rejected.cut(context + 1))
        if np.array_equal(pair.chosen.ids, pair.rejected.ids):
            left_out += 1
        else:
            pairs.append(pair)
    if not pairs:
        raise CorpusError(
            f"no two answers differ within a sequence of {context + 1} tokens",
            where=", ".join(map(str, paths)),
            fix="raise the context, or shorten the prompts",
        )
    return Pairs(pairs, cut, left_out, shapes)


def _whole_pairs(
    records: Iterator[Record],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    shapes: Counter[str],
) -> Iterator[tuple[Record, Pair]]:
    """Yield each record's pair, not cut; its shape is counted."""
    while block := list(islice(records, AT_ONCE)):
        both = [_conversations(record, shapes) for record in block]
        talks = [(record, each) for record, two in zip(block, both, strict=True) for each in two]
        chats = encode(talks, tokenizer, template)
        for record, two in zip(block, both, strict=True):
            if two:
                chosen, rejected = (_last_answer(chat) for _, chat in islice(chats, 2))
            else:
                prompt = record.text("prompt")
                chosen, rejected = (
                    _continuation(prompt, record.text(side), tokenizer) for side in _SIDES
                )
            yield record, Pair(chosen, rejected)


def _conversations(record: Record, shapes: Counter[str]) -> list[Messages]:
    """Return the conversation with either answer, or nothing if both continue a plain text."""
    for side in _SIDES:
        if record.values.get(side) is None:
            record.refuse(f"has no {side!r} answer", "give both sides, or remove the line")
    if record.values["chosen"] == record.values["rejected"]:
        record.refuse("'chosen' and 'rejected' are the same", "remove the line")
    texts = all(isinstance(record.values[side], str) for side in _SIDES)
    if texts and ("prompt" in record.values) + _has_messages(record) + _asks(record) != 1:
        record.refuse(
            "must have either 'prompt' or 'messages'",
            "give a plain text to continue, or a conversation to answer",
        )
    if texts and isinstance(record.values.get("prompt"), str):
        for field in ("prompt", *_SIDES):
            record.text(field)
        shapes["prompt"] += 1
        return []
    answers = [answer_of(record, side) for side in _SIDES]
    if any(len(answer) > 1 for answer in answers):
        shapes["two conversations"] += 1
        return _with_one_beginning(record, answers)
    shape, asked = question_of(record)
    if not asked:
        record.refuse("has no question to answer", "add 'prompt' or 'messages'")
    if asked[-1]["role"] == ANSWERER:
        record.refuse("ends with an assistant message", "end it with what is to be answered")
    shapes[shape] += 1
    return [[*asked, *answer] for answer in answers]


def _has_messages(record: Record) -> bool:
    return "messages" in record.values or "conversations" in record.values


def _asks(record: Record) -> bool:
    return "question" in record.values or "instruction" in record.values


def _with_one_beginning(record: Record, whole: list[Messages]) -> list[Messages]:
    """Check two whole conversations that differ in their last answer alone."""
    chosen, rejected = whole
    if chosen[:-1] != rejected[:-1]:
        record.refuse(
            "'chosen' and 'rejected' differ before their last message",
            "give two answers to the same conversation",
        )
    if chosen == rejected:
        record.refuse("'chosen' and 'rejected' are the same", "remove the line")
    # Such records repeat what is asked; what is asked otherwise would be ignored.
    prompt = record.values.get("prompt")
    asked = prompt if isinstance(prompt, str) else None
    if asked is not None and asked.strip() != chosen[-2]["content"].strip():
        record.refuse("'prompt' is not what 'chosen' answers", "remove it, or make them agree")
    if isinstance(prompt, list):
        _, before = question_of(record)
        if chosen[: len(before)] != before:
            return [[*before, *each] for each in whole]
        return whole
    return [[*described_tools(record), *each] for each in whole]


def _continuation(prompt: str, answer: str, tokenizer: Tokenizer) -> ScoredTokens:
    """Encode a plain text and its continuation, which ends the text."""
    before = [*tokenizer.prefix, *tokenizer.encode(prompt)]
    after = [*tokenizer.encode(answer, continues=True), tokenizer.eos_id]
    ids = np.array(before + after, np.int32)
    return ScoredTokens(ids, np.arange(len(ids)) >= len(before))


def _last_answer(chat: EncodedChat) -> ScoredTokens:
    """Count a conversation's last answer alone; earlier ones belong to the prompt."""
    said = np.array(chat.answers)
    end = len(said) - int(said[::-1].argmax())
    start = end - int((~said[:end][::-1]).argmax())
    positions = np.arange(len(said))
    return ScoredTokens(np.array(chat.ids, np.int32), (start <= positions) & (positions < end))
