from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_a_key_is_looked_up_in_the_terminal(here: Cli) -> None:
    shown = here("settings", "engine.max_waiting").stdout
    assert "engine.max_waiting" in shown
    assert "1024" in shown
    assert "engine.max_context" not in shown


def test_a_section_as_markdown_and_as_json(here: Cli) -> None:
    page = here("settings", "schedule", "--markdown").stdout
    assert "| `schedule.warmup` | number from 0 to 0.5 | `0.02` |" in page
    (section,) = json.loads(here("settings", "schedule.warmup", "--json").stdout)
    assert section["settings"][0]["default"] == "0.02"


def test_an_unknown_key_is_answered_with_the_nearest(here: Cli) -> None:
    assert 'did you mean "server.port"?' in here("settings", "server.prt", code=2).stderr
