"""``ingot freeze --quantize``, and that both executors answer from what it makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingot.artifact import verify

Cli = Callable[..., Any]


def test_freezes_and_answers(here: Cli, trained: Path, sealed: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.ingot"
    options = ("--quantize", "int4", "--group", "64", "--tensor", "*.down_proj=bf16")
    here("freeze", trained, "--out", out, *options)
    verify(out)
    quantization = json.loads((out / "ingot.json").read_bytes())["quantization"]
    assert quantization["method"] == "gptq"
    assert quantization["matrices"]["model.layers.0.mlp.down_proj"]["kind"] == "bf16"
    assert quantization["matrices"]["model.embed_tokens"] == {"kind": "int4", "group": 64}
    weights = "model.safetensors"
    assert (out / weights).stat().st_size < 0.7 * (sealed / weights).stat().st_size
    for executor in ("auto", "torch"):
        answer = here(
            "generate", out, "def main(", "--executor", executor, "--json", "--temperature", "0",
            "--max-tokens", "4", "--threads", "1",
        )  # fmt: skip
        assert len(json.loads(answer.stdout)["token_ids"]) == 4


def test_options_that_make_no_sense_are_refused(here: Cli, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.ingot"
    for options, said in (
        (("--quantize", "int5"), "int5"),
        (("--group", "32"), "--quantize"),
    ):
        assert said in here("freeze", trained, "--out", out, *options, code=2).stderr
    assert not out.exists()
