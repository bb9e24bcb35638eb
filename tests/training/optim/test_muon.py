from __future__ import annotations

import pytest
import torch

from ingot.training.optim.muon import orthogonalise


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 32, 96), (2, 96, 32)])
def test_orthogonalise_keeps_singular_vectors_and_levels_values(
    shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, values, vh = torch.linalg.svd(noise, full_matrices=False)
    result = orthogonalise((u * values.clamp(min=0.5)[:, None, :]) @ vh, dtype)
    assert result.dtype == dtype
    result = result.float()
    assert torch.linalg.svdvals(result).sub(1).abs().max() < 0.15
    assert (result - u @ vh).abs().max() < 0.1
