from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ingot.model.bfloat16 import computes_bfloat16


def test_the_answer_is_what_the_kernel_reports_of_the_cpu() -> None:
    info = Path("/proc/cpuinfo")
    if not info.exists() or "flags" not in info.read_text():
        pytest.skip("the kernel does not list this CPU's features")
    assert computes_bfloat16(torch.device("cpu")) == ("avx512_bf16" in info.read_text().split())
