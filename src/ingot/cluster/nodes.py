"""How many workers or machines take part in a job: ``--nodes N`` and ``--workers N``."""

from __future__ import annotations

from ingot.errors import UsageError


def parse_nodes(text: str, option: str = "--nodes") -> int:
    """Return the number that an option names.

    Raises:
        UsageError: it is not a number of at least one.
    """
    if text.isascii() and text.isdecimal() and len(text) < 7 and int(text) >= 1:
        return int(text)
    raise UsageError(
        f"must be a number of workers, not {text!r}",
        where=option,
        fix=f"for example: {option} 2",
    )
