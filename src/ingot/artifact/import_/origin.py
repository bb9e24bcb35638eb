"""Where a foreign model came from, as its folder says: licence and base model of its card."""

from __future__ import annotations

import re

from ingot.artifact.import_.source_folder import SourceFolder

CARD = "README.md"
_MAX_CARD_BYTES = 4 << 20
_LINE = re.compile(r"(license|license_name|base_model):[ \t]*(.*)")
_ITEM = re.compile(r"[ \t]*-[ \t]+(.+)")
_PLAIN = re.compile(r"[\w./:+-][\w ./:+()-]{0,198}")
LICENSE_FILE = re.compile(r"(LICEN[CS]E|NOTICE|USE_POLICY|Notice)(\.md|\.txt)?", re.IGNORECASE)
"""Names of files that hold a licence."""


def read_card(folder: SourceFolder) -> dict[str, str]:
    """Return ``license``, ``license_name`` and ``base_model`` of the model card, where given.

    Only plain values are taken from its front matter: nothing of it is executed, and a value of
    another form is left out.

    Raises:
        ArtifactError: the card is a link, or too large.
    """
    if CARD not in folder.names:
        return {}
    text = folder.read(CARD, max_bytes=_MAX_CARD_BYTES).decode("utf-8", "replace")
    lines = text.split("\n")
    if lines[0].strip() != "---":
        return {}
    found: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=1):
        if line.strip() == "---":
            return found
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            continue
        name, value = match.groups()
        item = _ITEM.fullmatch(lines[number + 1].rstrip()) if number + 1 < len(lines) else None
        value = value or (item[1] if item is not None else "")
        value = value.strip().strip("\"'")
        if _PLAIN.fullmatch(value):
            found.setdefault(name, value)
    return {}  # the front matter has no end
