"""Incremental detokenization, ended by stop texts."""

from __future__ import annotations

from collections.abc import Iterable

from ingot.inference.request.stop import StopMatcher
from ingot.model.tokenizer import StreamDecoder, Tokenizer


class Detokenizer:
    """Converts one answer's tokens to text, holding back what may begin a stop text.

    Concatenating what ``push`` and ``flush`` return gives the answer's text up to
    the first stop text. Returned text is final.

    Args:
        tokenizer: The tokenizer of the model.
        stops: Texts that end the answer.
        keep_stop: Whether the stop text is part of the answer.
        opened: Bytes of a character that the prompt begins and the answer completes.
        begins: Whether the tokens begin a text (``Tokenizer.begins_text``).
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stops: Iterable[str],
        *,
        keep_stop: bool = False,
        opened: bytes = b"",
        begins: bool = False,
    ) -> None:
        self._decoder = StreamDecoder(tokenizer, opened, begins=begins)
        self._keep_stop = keep_stop
        stops = tuple(stops)
        self._matcher = StopMatcher(stops) if stops else None
        self._held = ""
        self.stopped = False
        """Whether a stop text was found; no more tokens may be pushed."""

    def push(self, token_id: int, *, may_stop: bool = True) -> str:
        """Take the next token; return the text that is now certain.

        Args:
            token_id: The token.
            may_stop: Whether a stop text that ends within this token's text counts.
        """
        return self._take(self._decoder.push(token_id), may_stop)

    def flush(self) -> str:
        """Return the text that was held back, at the end of the answer.

        A character that the answer's last tokens left incomplete is dropped.
        """
        held, self._held = self._held, ""
        return held

    def _take(self, text: str, may_stop: bool) -> str:
        matcher = self._matcher
        if matcher is None:
            return text
        start = len(self._held)
        text = self._held + text
        for index in range(start, len(text)):
            stop = matcher.feed(text[index])
            if stop and may_stop:
                self.stopped, self._held = True, ""
                return text[: index + 1 - (0 if self._keep_stop else stop)]
        certain = len(text) - matcher.pending
        self._held = text[certain:]
        return text[:certain]
