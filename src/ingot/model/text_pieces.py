"""Cutting of long texts where no token crosses the cut."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Between a line and one that begins without white space no token of ``split_pattern`` crosses.
_BORDER = re.compile(r"\n(?=\S)")
_LOOK_BACK = 1 << 14


def text_pieces(text: str, size: int) -> Iterator[str]:
    """Yield a text in pieces of at most ``size`` characters.

    Each ends with a line where the text has one near enough, so that tokenizing the pieces
    gives the tokens of the whole text.
    """
    start = 0
    while len(text) - start > size:
        end = _cut(text, start, start + size)
        yield text[start:end]
        start = end
    yield text[start:]


def _cut(text: str, start: int, end: int) -> int:
    """Return where to cut between ``start`` and ``end``."""
    window = max(start, end - _LOOK_BACK)
    borders = [match.end() for match in _BORDER.finditer(text, window, end)]
    if borders:
        return borders[-1]
    return text.rfind("\n", window, end) + 1 or end
