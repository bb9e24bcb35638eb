"""Speculative decoding by prompt lookup.

Source: A. Saxena, "Prompt Lookup Decoding", 2023. If the last few tokens occurred
earlier in prompt or answer, the tokens that followed them there are the draft. They run
together with the last known token, and each is accepted only if it equals the token
sampled before it, so speculation never changes an answer.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping

from ingot.inference.request.output import SequenceOutput
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.draft_worth import DraftWorth
from ingot.inference.scheduling.kv_cache import KVCache
from ingot.inference.scheduling.scheduler import ScheduledChunk

_LONGEST_MATCH = 4
_SHORTEST_MATCH = 2
_WIDTH = 4  # bytes per token in ``Sequence.token_bytes``
_WINDOW = 8_192 * _WIDTH  # bytes searched, from the end


class Speculator:
    """Adds draft tokens to a step while its budget and the cache have space.

    Args:
        most: Maximum draft tokens of one sequence in one step.
        max_step_tokens: The token budget of a step.
        cache: Allocates the blocks; no sequence is preempted for a draft.
    """

    def __init__(self, most: int, max_step_tokens: int, cache: KVCache) -> None:
        self._most = most
        self._max_step_tokens = max_step_tokens
        self._cache = cache
        self.worth: DraftWorth | None = None
        """Limits the drafts to those that are worth their time; None drafts ``most`` tokens."""

    def draft(
        self, chunks: Iterable[ScheduledChunk], outputs: Mapping[Sequence, SequenceOutput]
    ) -> None:
        """Set ``drafts`` of the chunks that consist of a sequence's last known token."""
        budget = self._max_step_tokens - sum(chunk.count for chunk in chunks)
        longest = self._most
        if self.worth is not None:
            chunks = list(chunks)
            longest, budget = self.worth.limits(chunks, longest, budget)
        for chunk in chunks:
            sequence = chunk.sequence
            if budget <= 0:
                return
            if chunk.count > 1 or sequence.pooling or sequence.computed + 1 < sequence.length:
                continue
            most = min(longest, budget, outputs[sequence].most_drafts)
            if most > 0:
                drafts = propose(sequence, most)
                if self._cache.grow(sequence, sequence.length + len(drafts)):
                    chunk.drafts = drafts
                    budget -= len(drafts)


def propose(sequence: Sequence, most: int) -> tuple[int, ...]:
    """Return at most ``most`` draft tokens for a sequence.

    They are the tokens after the latest earlier occurrence of the last 4, else 3, else 2
    tokens, within the last 8,192.
    """
    tokens = sequence.token_bytes
    end = len(tokens)
    for match in range(_LONGEST_MATCH, _SHORTEST_MATCH - 1, -1):
        width = match * _WIDTH
        if end <= width:
            continue
        offset = _last(tokens, tokens[end - width :], max(end - _WINDOW, 0), end - _WIDTH)
        if offset >= 0:
            found = offset + width
            return tuple(array("i", tokens[found : found + most * _WIDTH]))
    return ()


def _last(tokens: bytearray, wanted: bytearray, start: int, end: int) -> int:
    """Return the last offset of ``wanted`` in ``tokens[start:end]`` on a token boundary, or -1."""
    # ``rfind`` runs in C; a match that straddles two tokens is skipped and the search repeated.
    while (offset := tokens.rfind(wanted, start, end)) >= 0 and offset % _WIDTH:
        end = offset + len(wanted) - 1
    return offset
