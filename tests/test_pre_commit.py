"""The pre-commit hooks: each runs offline, with a tool that the dev extra installs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
HOOKS = [
    hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repository["hooks"]
]
# The package of each command that is not called after its package.
PACKAGES = {"lint-imports": "import-linter"} | dict.fromkeys(
    [
        *("end-of-file-fixer", "trailing-whitespace-fixer", "mixed-line-ending", "check-toml"),
        *("check-yaml", "check-merge-conflict", "check-added-large-files"),
    ],
    "pre-commit-hooks",
)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_runs_a_tool_of_the_dev_extra(hook: dict[str, Any]) -> None:
    command = hook["entry"].split()[0]
    assert hook["language"] == "system"  # the other kinds fetch from the network
    assert command.startswith(".venv/bin/")
    name = command.removeprefix(".venv/bin/")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extra = settings["project"]["optional-dependencies"]["dev"]
    assert PACKAGES.get(name, name) in [requirement.split(">=")[0] for requirement in extra]
    pins = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    assert f"\n{PACKAGES.get(name, name)}==" in pins
