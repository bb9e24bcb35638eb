"""Settings to try against each other: ``--over optimizer.muon_lr=0.01,0.02``."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ingot.errors import UsageError, nearest
from ingot.settings import setting_keys
from ingot.training.config.recipe import Recipe

MOST_TRIALS = 256
"""Most runs of one sweep."""
_OPTION = "--over"
_FIX = "for example: --over optimizer.muon_lr=0.01,0.02"


@dataclass(frozen=True)
class Trial:
    """One combination of the settings."""

    name: str
    """Name of its run's folder."""
    settings: tuple[str, ...]
    """As ``--set`` takes them."""


@dataclass(frozen=True)
class Grid:
    """Every combination of some settings' values."""

    values: dict[str, tuple[str, ...]]
    """The values of each setting, as texts."""

    def __len__(self) -> int:
        """Return the number of combinations."""
        return math.prod(len(values) for values in self.values.values())

    def __iter__(self) -> Iterator[Trial]:
        """Yield the combinations, the last setting's values changing fastest."""
        for number, chosen in enumerate(itertools.product(*self.values.values())):
            settings = tuple(map("=".join, zip(self.values, chosen, strict=True)))
            short = ",".join(setting.partition(".")[2] for setting in settings)
            readable = "".join(one if one.isalnum() or one in ".,=_-" else "-" for one in short)
            yield Trial(f"{number:03}-{readable[:80]}", settings)


def parse_over(texts: Iterable[str]) -> Grid:
    """Return what ``--over KEY=VALUE,VALUE`` options say.

    Commas part the values, except within brackets and quotes: a value is JSON, or else text.

    Raises:
        UsageError: a key is unknown, a setting has no values or one twice, or there are more than
            ``MOST_TRIALS`` combinations.
    """
    known = setting_keys(Recipe)
    values: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, _, listed = text.partition("=")
        key, where = key.strip(), f"{_OPTION} {text[:80]}"
        if key not in known:
            near = nearest(key, known)
            fix = f"did you mean {near}?" if near else "see ingot settings"
            raise UsageError(f"unknown setting {key[:80]!r}", where=where, fix=fix)
        if key in values:
            raise UsageError(f"{key} is given twice", where=where, fix="give its values in one")
        found = _values(listed)
        if not found or not all(found):
            raise UsageError("has no values", where=where, fix=_FIX)
        if len(set(found)) < len(found):
            raise UsageError("has a value twice", where=where, fix="leave one out")
        values[key] = found
    if not values:
        raise UsageError("says nothing to try", where=_OPTION, fix=_FIX)
    grid = Grid(values)
    if len(grid) > MOST_TRIALS:
        raise UsageError(
            f"asks for {len(grid)} runs, at most {MOST_TRIALS} are made",
            where=_OPTION,
            fix="try fewer values",
        )
    return grid


def _values(listed: str) -> tuple[str, ...]:
    """Return the values of a list, each as a text."""
    try:
        found = json.loads(f"[{listed}]")
    except (ValueError, RecursionError):
        return tuple(value.strip() for value in listed.split(","))
    # As written where that is plain: 1e-3 stays 1e-3 in the name of the run.
    parts = tuple(value.strip() for value in listed.split(","))
    return parts if len(parts) == len(found) else tuple(map(json.dumps, found))
