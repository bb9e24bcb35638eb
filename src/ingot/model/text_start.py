"""Space in front of a decoded text that encoding has put there, and decoding drops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingot.model.tokenizer_layout import Layout


def drops_space(layout: Layout) -> bool:
    """Tell whether decoding drops spaces where a text begins."""
    return layout.strip > 0 or layout.drops_marks


class TextStart:
    """The first tokens of a text, as far as spaces are dropped from them.

    Args:
        layout: The tokenizer's.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._left = layout.strip
        self.open = drops_space(layout)
        """Whether the next token may lose a space."""

    def take(self, data: bytes) -> bytes:
        """Return what remains of the next token's bytes."""
        if not data:  # a special token; the text has not begun
            return data
        if self._layout.drops_marks:
            self.open = False
            return data.replace(b" ", b"")
        kept = data.lstrip(b" ")
        dropped = min(len(data) - len(kept), self._left)
        self._left -= dropped
        self.open = self._left > 0 and not kept
        return data[dropped:]

    def trim(self, parts: list[bytes]) -> None:
        """Drop the spaces from the bytes of a whole text's tokens, in place."""
        for index, data in enumerate(parts):
            if not self.open:
                return
            parts[index] = self.take(data)


class StartTable:
    """Table of token bytes for a text's first tokens; asks to be replaced by the whole one.

    So a decoder looks each later token up in a plain list, as where nothing is dropped.

    Args:
        table: The bytes of each token.
        start: Drops the spaces.
        replace: Called with ``table`` when nothing more can be dropped.
    """

    def __init__(
        self, table: Sequence[bytes], start: TextStart, replace: Callable[[Sequence[bytes]], None]
    ) -> None:
        self._table, self._start, self._replace = table, start, replace

    def __getitem__(self, token_id: int) -> bytes:
        data = self._start.take(self._table[token_id])
        if not self._start.open:
            self._replace(self._table)
        return data
