"""The whole path, as the README promises it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.timeout(2400)
def test_the_demo_does_it_all_and_is_quick_the_second_time(cli: Cli, tmp_path: Path) -> None:
    arguments = ("demo", "--budget", "5s", "--once", "--json", "--port", "0")
    first = cli(*arguments, cwd=tmp_path, timeout=1500)
    report = json.loads(first.stdout)
    assert len(report["digest"]) == 64
    assert report["digest"] in first.stderr
    assert (
        0.5 < report["bits_per_byte"] < 4
    )  # 8 without training; few updates, which begin from counts
    assert 0.5 < report["xz_bits_per_byte"] < report["zstd_bits_per_byte"] < 2
    assert report["training_tokens_per_second"] > 0
    assert report["inference_tokens_per_second"] > 0
    assert report["completion"]
    assert "held-out text, bits per byte" in first.stderr
    again = json.loads(cli(*arguments, cwd=tmp_path, timeout=600).stdout)
    assert again["digest"] == report["digest"]
    assert again["completion"] == report["completion"]
    verified = json.loads(cli("verify", "demo.ingot", "--json", cwd=tmp_path).stdout)
    assert verified["digest"] == report["digest"]
