"""Incremental detokenization, ended by stop texts."""

from __future__ import annotations

from collections.abc import Iterable

from ingot.inference.request.stop import StopMatcher
from ingot.model.tokenizer import StreamDecoder, Tokenizer


class Detokenizer:
    """Converts one answer's tokens to text, holding back what may begin a stop text.

    Concatenating what ``push`` and ``flush`` return gives the answer's text up to
    the first stop text. Returned text is final.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Iterable[str]) -> None:
        self._decoder = StreamDecoder(tokenizer)
        stops = tuple(stops)
        self._matcher = StopMatcher(stops) if stops else None
        self._held = ""
        self.stopped = False
        """Whether a stop text was found; no more tokens may be pushed."""

    def push(self, token_id: int) -> str:
        """Take the next token; return the text that is now certain."""
        return self._take(self._decoder.push(token_id))

    def flush(self) -> str:
        """Return the text that was held back, at the end of the answer."""
        text = "" if self.stopped else self._take(self._decoder.flush())
        held, self._held = self._held, ""
        return text + held

    def _take(self, text: str) -> str:
        matcher = self._matcher
        if matcher is None:
            return text
        start = len(self._held)
        text = self._held + text
        for index in range(start, len(text)):
            if stop := matcher.feed(text[index]):
                self.stopped, self._held = True, ""
                return text[: index + 1 - stop]
        certain = len(text) - matcher.pending
        self._held = text[certain:]
        return text[:certain]
