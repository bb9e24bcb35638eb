"""From token ids to the text that may be shown, as they come."""

from __future__ import annotations

from collections.abc import Iterable

from ingot.inference.request.stop import StopMatcher
from ingot.model.tokenizer import StreamDecoder, Tokenizer


class Detokenizer:
    """Turns one answer's tokens into text, holding back what may begin a stop text.

    Concatenating what ``push`` and ``flush`` return gives the answer's text up to
    the first stop text. Nothing returned is ever taken back.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Iterable[str]) -> None:
        self._decoder = StreamDecoder(tokenizer)
        stops = tuple(stops)
        self._matcher = StopMatcher(stops) if stops else None
        self._held = ""
        self.stopped = False
        """Whether a stop text has come; nothing more must be pushed."""

    def push(self, token_id: int) -> str:
        """Take the next token; return the text that is now certain."""
        return self._take(self._decoder.push(token_id))

    def flush(self) -> str:
        """Return what was held back, when no more tokens come."""
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
