"""Costs of an ingot's steps, kept in the cache folder by the ingot's digest and the machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from pathlib import Path

from pydantic import ValidationError

from ingot.errors import IngotError, ResourceError
from ingot.files import cache_root, read_regular, write_atomic
from ingot.inference.scheduling.cost_model import CostModel, CostState
from ingot.process import usable_cores

_LARGEST = 1 << 17


def costs_path(digest: str, **setting: object) -> Path:
    """Return where the costs of an ingot on this machine are kept.

    Args:
        digest: Digest of the ingot.
        setting: What else decides how fast it runs: executor, weights in memory, threads, cache.
    """
    machine = {
        "processor": _processor(),
        "cores": usable_cores(),
        "kernels": os.environ.get("INGOT_ISA", ""),
        **setting,
    }
    named = json.dumps(machine, sort_keys=True, default=str).encode()
    name = f"{digest[:32]}-{hashlib.sha256(named).hexdigest()[:16]}.json"
    return cache_root() / "costs" / name


def read_costs(path: Path) -> CostModel | None:
    """Return the costs kept in a file; None where there is none or it cannot be used."""
    try:
        data = read_regular(path, ResourceError, max_bytes=_LARGEST)
        return CostModel(CostState.model_validate_json(data))
    except (IngotError, ValidationError, ValueError):
        return None


def keep_costs(path: Path, model: CostModel) -> None:
    """Write costs to a file; a cache that cannot be written is left as it is."""
    if not model.known:
        return
    with contextlib.suppress(OSError, IngotError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, model.state().model_dump_json().encode())


def _processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
