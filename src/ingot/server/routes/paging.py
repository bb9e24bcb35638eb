"""Pages of a list, in the form of OpenAI's API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from ingot.server.http.errors import ApiError


class _Item(Protocol):
    @property
    def id(self) -> str: ...


_Listed = TypeVar("_Listed", bound=_Item)


class Page(NamedTuple, Generic[_Listed]):
    """Part of a list."""

    items: list[_Listed]
    first: str | None
    """Id of its first item."""
    last: str | None
    """Id of its last item."""
    has_more: bool


def page_of(items: Sequence[_Listed], after: str | None, limit: int) -> Page[_Listed]:
    """Return a page of a list.

    Args:
        items: All, in the order of the list.
        after: Id of the item before the first of the page; None begins with the first.
        limit: Most items.

    Raises:
        ApiError: 400 if ``after`` names none of them.
    """
    start = 0
    if after is not None:
        start = next((at + 1 for at, item in enumerate(items) if item.id == after), 0)
        if not start:
            raise ApiError(400, "after names no item", param="after", code="invalid_value")
    listed = list(items[start : start + limit])
    first, last = (listed[0].id, listed[-1].id) if listed else (None, None)
    return Page(listed, first, last, start + limit < len(items))
