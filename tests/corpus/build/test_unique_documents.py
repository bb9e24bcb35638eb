from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingot.corpus import Reason

Read = Callable[..., Any]


def test_duplicates_are_found_across_formats(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "same text"}))
    (tmp_path / "b.txt").write_text("same text")
    documents, report = read(tmp_path)
    assert len(documents) == 1
    assert report.skipped[Reason.DUPLICATE].examples == [str(tmp_path / "b.txt")]
