"""The systemd unit."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "ingot.service"


def settings() -> dict[str, list[str]]:
    """Return the unit's settings by name."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_a_reload_reads_the_keys_where_they_lie() -> None:
    """FAULTS B6: a credential is a copy from the start, so a reload would revoke nothing."""
    unit = settings()
    assert "LoadCredential" not in unit
    assert "--api-keys /etc/ingot/keys.toml" in unit["ExecStart"][0]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    hidden = " ".join(unit.get("InaccessiblePaths", []) + unit.get("TemporaryFileSystem", []))
    assert "/etc" not in hidden


def test_memory_and_system_calls_are_bounded() -> None:
    """FAULTS B8: MemoryMax and SystemCallFilter."""
    unit = settings()
    assert unit["MemoryMax"]
    assert unit["SystemCallFilter"][0] == "@system-service"
    assert unit["CapabilityBoundingSet"] == [""]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_its_exposure_is_at_most_2() -> None:
    """FAULTS B8: a hardened unit."""
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    level = re.search(r"Overall exposure level for \S+ ([0-9.]+)", done.stdout)
    assert level, done.stdout + done.stderr
    assert float(level[1]) <= 2
