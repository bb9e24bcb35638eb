"""Preference JSONL: a prompt, the answer that is wanted, and one that is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingot.errors import CorpusError
from ingot.model import Tokenizer
from ingot.model.chat import ANSWERER, ChatTemplate, EncodedChat
from ingot.training.data.answers import ScoredTokens
from ingot.training.data.conversations import AT_ONCE, TooLong, encode, messages_of, refuse_long
from ingot.training.data.records import Record, read_records

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

    def __len__(self) -> int:
        return len(self.pairs)

    def part(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Return the pairs for which ``chosen``, (pairs,), is true."""
        kept = [pair for pair, keep in zip(self.pairs, chosen, strict=True) if keep]
        return Pairs(kept, self.cut, self.left_out)

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
        paths: JSONL files. A line has ``chosen`` and ``rejected``, both texts, and either
            ``messages``, a conversation that they answer, or ``prompt``, a plain text that
            they continue.
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
    for record, whole in _whole_pairs(read_records(paths), tokenizer, template):
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
    return Pairs(pairs, cut, left_out)


def _whole_pairs(
    records: Iterator[Record], tokenizer: Tokenizer, template: ChatTemplate
) -> Iterator[tuple[Record, Pair]]:
    """Yield each line's pair, not cut."""
    while block := list(islice(records, AT_ONCE)):
        talks = [(record, talk) for record in block for talk in _conversations(record)]
        chats = encode(talks, tokenizer, template)
        for record in block:
            if "messages" in record.values:
                chosen, rejected = (_last_answer(chat) for _, chat in islice(chats, 2))
            else:
                prompt = record.text("prompt")
                chosen, rejected = (
                    _continuation(prompt, record.text(side), tokenizer) for side in _SIDES
                )
            yield record, Pair(chosen, rejected)


def _conversations(record: Record) -> list[list[dict[str, str]]]:
    """Check a line; return the conversation with either answer, or nothing if it has a prompt."""
    for side in _SIDES:
        if record.values.get(side) is None:
            record.refuse(f"has no {side!r} answer", "give both sides, or remove the line")
    answers = [record.text(side) for side in _SIDES]
    if answers[0] == answers[1]:
        record.refuse("'chosen' and 'rejected' are the same", "remove the line")
    if ("prompt" in record.values) == ("messages" in record.values):
        record.refuse(
            "must have either 'prompt' or 'messages'",
            "give a plain text to continue, or a conversation to answer",
        )
    if "prompt" in record.values:
        record.text("prompt")
        return []
    asked = messages_of(record, answered=False)
    return [[*asked, {"role": ANSWERER, "content": answer}] for answer in answers]


def _continuation(prompt: str, answer: str, tokenizer: Tokenizer) -> ScoredTokens:
    """Encode a plain text and its continuation, which ends the text."""
    before, after = tokenizer.encode(prompt), [*tokenizer.encode(answer), tokenizer.eos_id]
    ids = np.array(before + after, np.int32)
    return ScoredTokens(ids, np.arange(len(ids)) >= len(before))


def _last_answer(chat: EncodedChat) -> ScoredTokens:
    """Count a conversation's last answer alone; earlier ones belong to the prompt."""
    said = np.array(chat.answers)
    end = len(said) - int(said[::-1].argmax())
    start = end - int((~said[:end][::-1]).argmax())
    positions = np.arange(len(said))
    return ScoredTokens(np.array(chat.ids, np.int32), (start <= positions) & (positions < end))
