"""Clients that people use, each a program that talks to the server: tools, streams, second turns.

OpenAI's client is installed with the development packages. ``make clients`` installs all of
them into an environment of its own, whose folder it gives in ``INGOT_CLIENTS``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLIENTS = os.environ.get("INGOT_CLIENTS", "")
PROGRAMS = sorted(HERE.glob("*_client.py")) + sorted(HERE.glob("*_client.mjs"))
BY_DEFAULT = {"openai_client.py"}


def command(program: Path) -> list[str]:
    """How a program is run; skips the test where it needs what ``make clients`` installs."""
    if not CLIENTS:
        if program.name not in BY_DEFAULT:
            pytest.skip("make clients runs it")
        return [sys.executable, str(program)]
    if program.suffix == ".py":
        return [str(Path(CLIENTS) / "bin" / "python"), str(program)]
    # Node looks for packages beside the program.
    beside = Path(CLIENTS) / program.name
    beside.write_bytes(program.read_bytes())
    return ["node", str(beside)]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_client_calls_tools_streams_and_continues(url: str, program: Path) -> None:
    """FAULTS C1 and C13: every client's second turn."""
    ended = subprocess.run(
        [*command(program), url],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
