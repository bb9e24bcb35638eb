"""``ingot export``: what it prints, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.api.exporting import ExportOptions, export

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_every_target(here: Cli, sealed: Path, tmp_path: Path) -> None:
    for to, out in (("hf", "folder"), ("gguf", "small.gguf"), ("modelfile", "ollama")):
        said = here("export", sealed, "--to", to, "--out", tmp_path / out, "--json")
        made = json.loads(said.stdout)
        assert made["path"] == str(tmp_path / out)
        assert (made["to"], len(made["digest"]), made["notes"]) == (to, 64, [])
    assert (tmp_path / "small.gguf").stat().st_size > made["bytes"]


def test_prints_what_int8_costs_by_channel(
    here: Cli, trained: Path, texts: Path, tmp_path: Path
) -> None:
    ingot, text = tmp_path / "int8.ingot", texts / "00.py"
    here("freeze", trained, "--out", ingot, "--quantize", "int8", "--no-calibrate")
    to = ("--to", "compressed-tensors")
    said = here("export", ingot, *to, "--out", tmp_path / "a").stdout
    assert "with --text FILE" in said
    said = here("export", ingot, *to, "--out", tmp_path / "b", "--text", text).stdout
    assert "bits per byte where the ingot has" in said
    options = ExportOptions(texts=[text])
    cost = export(ingot, tmp_path / "c", to="compressed-tensors", options=options).cost
    assert cost is not None
    assert 0 < abs(cost.bits_per_byte / cost.before - 1) < 0.05


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "onnx"], "'onnx' is not a format to export to; use hf, gguf"),
        (["--to", "hf", "--type", "q8_0"], "--type: has no meaning for hf"),
        (["--to", "gguf", "--dtype", "float16"], "--dtype: has no meaning for gguf"),
        (["--to", "gguf", "--text", "x"], "--text: has no meaning for gguf"),
        (["--to", "hf", "--system", "x"], "--system: has no meaning for hf"),
        (["--to", "hf", "--license", "x"], "--license: has no meaning for hf"),
        (["--to", "modelfile", "--shard-bytes", "5"], "--shard-bytes: has no meaning"),
        (["--to", "hf", "--shard-bytes", "0"], "--shard-bytes: must be above 0"),
        (["--to", "hf", "--dtype", "int3"], "--dtype: 'int3' is not a number format"),
        (["--to", "gguf", "--type", "q2_k"], "--type: 'q2_k' is not a number format"),
        (["--to", "compressed-tensors"], "is not quantized"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_combinations_are_refused(
    here: Cli, sealed: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    out = tmp_path / "out"
    assert said in here("export", sealed, "--out", out, *arguments, code=2).stderr
    assert list(tmp_path.iterdir()) == []
