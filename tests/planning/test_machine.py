from __future__ import annotations

import torch

from ingot.planning import measure_machine


def test_the_machine_is_measured_within_what_is_possible() -> None:
    machine = measure_machine(0.3)
    assert machine.name
    assert machine.cores >= 1
    assert machine.memory_bytes > 1 << 28
    assert 1e8 < machine.matmul_flops < 1e16
    if not torch.cuda.is_available() and not torch.cpu._is_avx512_bf16_supported():
        assert not machine.bfloat16
