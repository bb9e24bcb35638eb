"""Guessing the next tokens from the text itself: prompt lookup.

Source: A. Saxena, "Prompt Lookup Decoding", 2023. Where the last few tokens stood
earlier in prompt or answer, what followed them there is likely to follow again. A
guess is run together with the last token known and kept only where the token drawn
is the same, so answers are what they would be without.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping

from ingot.inference.request.output import SequenceOutput
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.kv_cache import KVCache
from ingot.inference.scheduling.scheduler import ScheduledChunk

_LONGEST_MATCH = 4
_SHORTEST_MATCH = 2
_WIDTH = 4  # bytes of a token in ``Sequence.token_bytes``
_WINDOW = 8_192 * _WIDTH  # bytes searched, from the end


class Speculator:
    """Adds guesses to the work of a step, where there is budget and room for them.

    Args:
        most: Most guesses for one sequence in one step.
        max_step_tokens: The token budget of a step.
        cache: Gives the blocks; nobody is preempted for a guess.
    """

    def __init__(self, most: int, max_step_tokens: int, cache: KVCache) -> None:
        self._most = most
        self._max_step_tokens = max_step_tokens
        self._cache = cache

    def draft(
        self, chunks: Iterable[ScheduledChunk], answers: Mapping[Sequence, SequenceOutput]
    ) -> None:
        """Set ``drafts`` of the chunks that run a sequence's last known token alone."""
        budget = self._max_step_tokens - sum(chunk.count for chunk in chunks)
        for chunk in chunks:
            sequence = chunk.sequence
            if budget <= 0:
                return
            if chunk.count > 1 or sequence.pooling or sequence.computed + 1 < sequence.length:
                continue
            most = min(self._most, budget, answers[sequence].most_drafts)
            if most > 0:
                drafts = propose(sequence, most)
                if self._cache.grow(sequence, sequence.length + len(drafts)):
                    chunk.drafts = drafts
                    budget -= len(drafts)


def propose(sequence: Sequence, most: int) -> tuple[int, ...]:
    """Return at most ``most`` guesses of the tokens that follow a sequence.

    The latest position at which the last 4, else 3, else 2 tokens stood before says what
    followed. The search looks at the last 8,192 tokens.
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
    """Return where ``wanted`` last stands on a token's border in ``tokens[start:end]``, or -1."""
    while (offset := tokens.rfind(wanted, start, end)) >= 0 and offset % _WIDTH:
        end = offset + len(wanted) - 1
    return offset
