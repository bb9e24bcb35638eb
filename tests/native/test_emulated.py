"""The AVX-512 kernels on a build that emulates every AVX-512 instruction."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ingot.training.native import formats, module

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "core-avx512"

# Prints the file of the compiled module and a digest of all that attention and the norm compute.
DIGEST = """
import hashlib, torch
from ingot.training.native import bits, kernels, module
random, digest = torch.Generator().manual_seed(0), hashlib.sha256()
def draw(*shape):
    return torch.randn(shape, generator=random)
def take(*outputs):
    for output in outputs:
        digest.update(output.contiguous().view(torch.uint8).numpy().tobytes())
for windows, tokens, heads, key_heads, width in [(2, 100, 4, 2, 64), (1, 33, 3, 1, 48)]:
    q, by_mixed = (draw(windows, tokens, heads, width).bfloat16() for _ in range(2))
    k, v = (draw(windows, tokens, key_heads, width).bfloat16() for _ in range(2))
    mixed, by_q, totals = q.clone(), q.clone(), torch.empty(windows, heads, tokens)
    by_k, by_v = k.clone(), v.clone()
    kernels().attend(*map(bits, (q, k, v)), None, bits(mixed), totals.numpy())
    kernels().attend_back(*map(bits, (q, k, v)), None, totals.numpy(),
                          *map(bits, (by_mixed, by_q, by_k, by_v)))
    take(mixed, totals, by_q, by_k, by_v)
x, gain, by_out = draw(300, 96), draw(96), draw(300, 96).bfloat16()
out, by_x, by_gain = by_out.clone(), x.clone(), gain.clone()
kernels().norm(x.numpy(), gain.numpy(), 1e-6, None, None, 1, bits(out))
kernels().norm_back(x.numpy(), gain.numpy(), 1e-6, None, None, 1, bits(by_out), by_x.numpy(),
                    by_gain.numpy())
take(out, by_x, by_gain)
print(module().__file__, digest.hexdigest())
"""


def digest(*, emulated: bool) -> tuple[str, str]:
    """Return the file of the compiled training kernels, and the digest of what they compute."""
    script = f"import tests.native.emulated\n{DIGEST}" if emulated else DIGEST
    environment = os.environ | {"INGOT_EMULATED": str(BUILD), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    file, value = done.stdout.split()
    return file, value


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_the_kernels_pass_their_tests_and_give_the_bits_of_the_hardware() -> None:
    """On a CPU without BF16 only the first half can be tested."""
    command = ["sh", str(ROOT / "scripts" / "core_test.sh"), "avx512"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout.splitlines()[-1]
    file, value = digest(emulated=True)
    assert Path(file).is_relative_to(BUILD)
    if torch.bfloat16 in formats():
        assert digest(emulated=False) == (getattr(module(), "__file__", None), value)
