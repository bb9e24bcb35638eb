"""What holds of the core's source text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ingot

PACKAGE = Path(ingot.__file__).parent
FILES = sorted(
    path
    for folder in (PACKAGE / "native", PACKAGE / "training" / "native")
    for path in (*folder.glob("*.cpp"), *folder.glob("*.h"))
)
BY_HAND = (
    "avx512.h",
    "bf16_emulation_test.cpp",
    "kernels_avx2.cpp",
    "kernels_avx512.cpp",
    "kernels_neon.cpp",
    "pair_product.h",
)
INTRINSIC = re.compile(
    r"\b_mm\d*_|\b__m(?:128|256|512)|\bv\w+q?_[suf](?:8|16|32|64)\b|[<\"](?:\w*intrin|arm_neon)\.h"
)


def test_there_is_source() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_intrinsics_are_in_kernel_files_alone(path: Path) -> None:
    found = INTRINSIC.search(path.read_text())
    by_hand = path.name in BY_HAND
    assert (found is not None) == by_hand, found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_short(path: Path) -> None:
    assert path.read_text().count("\n") <= 350
