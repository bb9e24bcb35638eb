"""Table that keeps what is in use, and a bounded number of entries that were."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Recent(Generic[_Key, _Value]):
    """Entries in use, and the most recently used of those at rest.

    Args:
        make: Makes an entry for a key that has none.
        remembered: Maximum entries at rest.
    """

    def __init__(self, make: Callable[[], _Value], remembered: int) -> None:
        self._make = make
        self._remembered = remembered
        self._used: dict[_Key, _Value] = {}
        self._resting: OrderedDict[_Key, _Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._used) + len(self._resting)

    def __getitem__(self, key: _Key) -> _Value:
        """Return an entry in use."""
        return self._used[key]

    def used(self) -> Collection[_Value]:
        """Return the entries in use."""
        return self._used.values()

    def use(self, key: _Key) -> _Value:
        """Return the entry of a key, in use from here on."""
        entry = self._used.get(key)
        if entry is None:
            entry = self._resting.pop(key) if key in self._resting else self._make()
            self._used[key] = entry
        return entry

    def touch(self, key: _Key) -> _Value:
        """Return the entry of a key without putting it in use."""
        entry = self._used.get(key)
        if entry is not None:
            return entry
        entry = self._resting.get(key)
        if entry is None:
            entry = self._make()
            self._keep(key, entry)
        else:
            self._resting.move_to_end(key)
        return entry

    def rest(self, key: _Key) -> None:
        """Put an entry to rest."""
        self._keep(key, self._used.pop(key))

    def _keep(self, key: _Key, entry: _Value) -> None:
        self._resting[key] = entry
        if len(self._resting) > self._remembered:
            self._resting.popitem(last=False)
