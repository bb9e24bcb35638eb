"""What a forger can do: change an ingot's files and give it digests that fit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Edit = Callable[[dict[str, Any]], object]


def copy_writable(source: Path, target: Path) -> Path:
    """Copy an ingot, its files writable."""
    shutil.copytree(source, target)
    for path in target.iterdir():
        path.chmod(0o644)
    return target


def reseal(ingot: Path, edit: Edit = lambda _: None) -> None:
    """Give a folder the manifest of what is in it now, changed by ``edit``."""
    content = json.loads((ingot / "ingot.json").read_bytes())
    files = {path.name: path.read_bytes() for path in ingot.iterdir() if path.name != "ingot.json"}
    content["files"] = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    found = {}
    for name, data in files.items():
        if name.endswith(".safetensors"):
            with contextlib.suppress(
                ValueError, LookupError, TypeError, AttributeError, RecursionError
            ):
                found |= tensor_records(data)
    content["tensors"] = found or content["tensors"]
    edit(content)
    write_manifest(ingot, content)


def write_manifest(ingot: Path, content: dict[str, Any]) -> None:
    """Write a manifest with the digest that its content has."""
    content.pop("digest", None)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["digest"] = hashlib.sha256(canonical.encode()).hexdigest()
    (ingot / "ingot.json").write_text(json.dumps(content, sort_keys=True, indent=1) + "\n")


def tensor_records(data: bytes) -> dict[str, Any]:
    """Return a manifest's entries for the tensors of a safetensors file."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {
        name: {
            "dtype": entry["dtype"],
            "shape": entry["shape"],
            "sha256": hashlib.sha256(
                data[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]]
            ).hexdigest(),
        }
        for name, entry in header.items()
    }
