from __future__ import annotations

import subprocess
import sys

import torch

from ingot.training.optim.adamw import AdamW, Group


def test_it_is_the_optimizer_of_pytorch() -> None:
    generator = torch.Generator().manual_seed(0)
    ours = [torch.randn(5, 3, generator=generator), torch.randn(4, generator=generator)]
    theirs = [torch.nn.Parameter(tensor.clone()) for tensor in ours]
    mine = [torch.nn.Parameter(tensor) for tensor in ours]
    optimizer = AdamW(
        [Group([mine[0]], 0.01, 0.1), Group([mine[1]], 0.02, 0.0), Group([], 1.0, 0.0)], (0.9, 0.95)
    )
    reference = torch.optim.AdamW(
        [
            {"params": [theirs[0]], "lr": 0.01, "weight_decay": 0.1},
            {"params": [theirs[1]], "lr": 0.02, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.95),
    )
    full = [group["lr"] for group in reference.param_groups]
    for lr_scale in (1.0, 0.5, 0.25, 0.1):
        for one, other in zip(mine, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        for group, rate in zip(reference.param_groups, full, strict=True):
            group["lr"] = rate * lr_scale
        optimizer.step(lr_scale)
        reference.step()
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_training_does_not_import_the_compiler() -> None:
    script = (
        "import sys, torch; from ingot.training.optim.optimizer import *; "
        "Optimizer(torch.nn.Linear(4, 4), OptimizerConfig()); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
