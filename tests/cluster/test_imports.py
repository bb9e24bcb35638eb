"""The core without Ray, and without what runs on it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
CORE = ("ingot.cli", "ingot.api.training", "ingot.server.serve", "ingot.inference", "ingot.corpus")


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_neither_ray_nor_the_package_on_it(run_python: Run, module: str) -> None:
    script = (
        f"import sys, {module} as module\n"
        "[getattr(module, name) for name in getattr(module, '__all__', ())]\n"
        "found = [name for name in sys.modules\n"
        "         if name.partition('.')[0] == 'ray' or name.startswith('ingot.cluster')]\n"
        "assert not found, found\n"
    )
    result = run_python(script)
    assert result.returncode == 0, result.stderr


def test_the_package_on_ray_can_be_imported_without_it(run_python: Run) -> None:
    result = run_python("import sys, ingot.cluster\nassert 'ray' not in sys.modules\n")
    assert result.returncode == 0, result.stderr
