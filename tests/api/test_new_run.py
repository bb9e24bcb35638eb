from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

from ingot.api.callbacks import Callbacks
from ingot.api.new_run import new_run


def test_planning_and_building_list_the_text_once(texts: Path, tmp_path: Path) -> None:
    given = {"corpus": {"vocab_size": 300}, "model": {"hidden_size": 16}}
    listed: Counter[str] = Counter()
    recording = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if recording and event in ("os.listdir", "os.scandir"):
            listed[str(arguments[0])] += 1

    sys.addaudithook(hook)  # a hook cannot be removed
    run = new_run(
        tmp_path / "run", given, "20s", [texts], "settings", Callbacks(), time.perf_counter()
    )
    recording = False
    assert listed[str(texts)] == 1
    assert run.recipe.run.budget_seconds == 20
