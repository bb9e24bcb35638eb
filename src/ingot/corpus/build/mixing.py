"""Mixing of sources: the weight of each, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ingot.corpus.store.manifest import SideRecord, SourceRecord
from ingot.errors import CorpusError, UsageError, nearest


def parse_mix(given: Iterable[str]) -> dict[str, float] | None:
    """Parse weights such as ``wiki=3``; return None if there are none.

    Raises:
        UsageError: an item is not a name, an equals sign and a number, or a name repeats.
    """
    mix: dict[str, float] = {}
    for text in given:
        name, _, number = text.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = 0.0
        if not name or not 0 < weight <= 1e9:
            raise UsageError(
                f"{text!r} is not a name and a weight", where="mix", fix="write it like wiki=3"
            )
        if name in mix:
            raise UsageError(f"{name!r} is given twice", where="mix", fix="give each weight once")
        mix[name] = weight
    return mix or None


def weights_in_order(names: Sequence[str], mix: Mapping[str, float]) -> list[float]:
    """Return each source's weight, in the order of the sources.

    Raises:
        CorpusError: two sources share a name, one has no weight, or a weight has no source.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise CorpusError(
            f"two sources are called {repeated[0]!r}", where="mix", fix="rename one of them"
        )
    for name in mix:
        if name not in names:
            near = nearest(name, names)
            known = f"did you mean {near!r}?" if near else f"there are: {', '.join(names)}"
            raise CorpusError(f"there is no source called {name!r}", where="mix", fix=known)
    for name in names:
        if name not in mix:
            raise CorpusError(
                f"the source {name!r} has no weight", where="mix", fix=f"add {name}=1"
            )
    return [mix[name] for name in names]


def source_records(
    names: Sequence[str],
    weights: Sequence[float],
    train: Sequence[SideRecord],
    validation: Sequence[SideRecord],
) -> tuple[SourceRecord, ...]:
    """Return what each source contributed, with its share of training.

    Raises:
        CorpusError: a source has no text to train on, so its weight cannot be met.
    """
    for name, side in zip(names, train, strict=True):
        if not side.documents:
            raise CorpusError(
                "has a weight, but none of its text is left to train on",
                where=name,
                fix="add text or leave the source out",
            )
    total = sum(weights)
    return tuple(
        SourceRecord(
            name=name, weight=weight, share=weight / total, train=mine, validation=held_out
        )
        for name, weight, mine, held_out in zip(names, weights, train, validation, strict=True)
    )
