from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ingot.model import Tokenizer
from tests.artifact.import_.tiny import make_checkpoint

Maker = Callable[..., tuple[Path, torch.nn.Module]]


@pytest.fixture
def checkpoint(tmp_path: Path, tokenizer: Tokenizer) -> Maker:
    """Make a tiny checkpoint of a family; return its folder and transformers' model."""

    def make(name: str, **options: Any) -> tuple[Path, torch.nn.Module]:
        folder = tmp_path / name
        return folder, make_checkpoint(name, folder, tokenizer, **options)

    return make
