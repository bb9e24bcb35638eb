"""Counts of what a pass read and left out, so that nothing is dropped silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

_EXAMPLES = 3


class Reason(StrEnum):
    """Reason why a file or document was left out."""

    BINARY = "binary"
    DOCUMENT = "PDF or office document"
    NOT_UTF8 = "not UTF-8"
    EMPTY = "empty"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near-duplicate"
    UNREADABLE = "unreadable"
    OTHER_KIND = "other kind of file"
    HIDDEN = "hidden"
    EXCLUDED = "excluded folder"
    LINK = "leads out of its folder"
    NESTED = "archive inside an archive"


REMEDIES = {
    Reason.BINARY: "only text is read",
    Reason.DOCUMENT: "convert them, for example with pdftotext or pandoc",
    Reason.NOT_UTF8: "name their encoding: --set corpus.encoding=latin-1",
    Reason.EMPTY: "there is nothing to read",
    Reason.DUPLICATE: "the first one is kept",
    Reason.NEAR_DUPLICATE: "corpus.near_duplicates is the least similarity",
    Reason.UNREADABLE: "check their permissions; pipes, devices and encrypted files are not read",
    Reason.OTHER_KIND: "corpus.suffixes chooses the kinds",
    Reason.HIDDEN: "--set corpus.hidden=true reads them",
    Reason.EXCLUDED: "--set corpus.exclude=[] reads them",
    Reason.LINK: "name what they point to as a further source",
    Reason.NESTED: "unpack them",
}
"""What a user can do about each."""


def explain(skipped: Mapping[str, tuple[int, Sequence[str]]]) -> list[str]:
    """Return a line for each reason: how much was left out, an example, and what to do."""
    lines = []
    for reason, (count, examples) in sorted(skipped.items()):
        example = f", such as {examples[0]}" if examples else ""
        # An old or foreign manifest may name further reasons.
        remedy = f"; {REMEDIES[Reason(reason)]}" if reason in set(Reason) else ""
        lines.append(f"left out: {count:,} {reason}{example}{remedy}")
    return lines


@dataclass(slots=True)
class Skipped:
    """Number of items left out for one reason, with the first few as examples."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ReadReport:
    """Running totals of one pass over the sources."""

    documents: int = 0
    """Documents yielded."""
    text_bytes: int = 0
    """Length of those documents in UTF-8."""
    source_bytes: int = 0
    """Bytes of the source files read so far, as they are on disk."""
    skipped: dict[Reason, Skipped] = field(default_factory=dict)
    """What was left out, by reason."""

    def skip(self, reason: Reason, origin: str) -> None:
        """Count one file or document as left out."""
        entry = self.skipped.setdefault(reason, Skipped())
        entry.count += 1
        if len(entry.examples) < _EXAMPLES:
            # File names may contain bytes that are not UTF-8; show them as \udcff.
            entry.examples.append(origin.encode(errors="backslashreplace").decode())

    def summary(self) -> str:
        """Return what was left out on one line, or an empty text if nothing was."""
        return ", ".join(
            f"{entry.count} {reason} (first: {entry.examples[0]})"
            for reason, entry in sorted(self.skipped.items())
        )

    def explained(self) -> list[str]:
        """Return what was left out, why and what to do: a line for each reason."""
        return explain({name: (one.count, one.examples) for name, one in self.skipped.items()})

    def state(self) -> dict[str, Any]:
        """Return the totals as JSON values."""
        return asdict(self)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Replace the totals by those that ``state`` returned."""
        self.documents = state["documents"]
        self.text_bytes = state["text_bytes"]
        self.source_bytes = state["source_bytes"]
        self.skipped = {
            Reason(reason): Skipped(**entry) for reason, entry in state["skipped"].items()
        }
