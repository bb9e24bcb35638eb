"""The file that ``ingot lesson`` writes its figures to and the page reads."""

from __future__ import annotations

import os
from pathlib import Path

RECORD_VERSION = 3
"""Version of the record's fields; the page refuses any other."""


def record_path() -> Path:
    """Return the record's path, by the XDG base directory specification."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "ingot" / "lesson.json"
