"""A pytest plugin: the compiled modules are those of the folder ``INGOT_EMULATED``.

``scripts/core_test.sh avx512`` builds them with every AVX-512 instruction emulated, so that tests
of the kernels run on CPUs without AVX-512 or BF16.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

MODULES = {"ingot.native._core": "_core.*.so", "ingot.training.native._kernels": "_kernels.*.so"}


def _load(name: str, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def pytest_report_header() -> str:
    return f"compiled modules of {os.environ['INGOT_EMULATED']}"


for _name, _pattern in MODULES.items():
    (_path,) = Path(os.environ["INGOT_EMULATED"]).rglob(_pattern)
    _load(_name, _path)
