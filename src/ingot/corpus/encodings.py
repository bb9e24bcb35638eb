"""Encodings of text files other than UTF-8, by name."""

from __future__ import annotations

import codecs
import re

# Encodings of files. Python's others are escapes, or take quadratic time on hostile input.
_ALLOWED = re.compile(
    r"iso8859-\d+|iso2022_(jp|kr)|ascii|cp\d+|koi8-[rtu]|mac-\w+|gbk|gb2312|gb18030|big5(hkscs)?|"
    r"shift_jis(x0213|_2004)?|euc_(jp|kr|jis_2004|jisx0213)|johab|tis-620|"
    r"utf-8(-sig)?|utf-(16|32)(-[lb]e)?"
)
_WIDE = re.compile(r"utf-(16|32)(-[lb]e)?")


def known_encoding(name: str) -> str | None:
    """Return Python's name of an encoding of text files, or None if there is no such."""
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return found if _ALLOWED.fullmatch(found) else None


def is_wide(name: str | None) -> bool:
    """Return whether text in an encoding holds NUL bytes."""
    return name is not None and _WIDE.fullmatch(known_encoding(name) or "") is not None


def decode(data: bytes, *fallbacks: str | None) -> str:
    """Return text that is UTF-8 or, failing that, in the first of ``fallbacks`` that fits.

    Raises:
        UnicodeDecodeError: it is in none of them.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        for name in fallbacks:
            known = known_encoding(name) if name else None
            if known is None:
                continue
            try:
                return data.decode(known)
            except UnicodeDecodeError:
                continue
        raise error from None
