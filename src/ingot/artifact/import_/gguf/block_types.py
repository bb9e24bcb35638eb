"""Tensor types of GGUF: how many values a block holds, and in how many bytes.

Numbers and sizes: ``ggml_type`` and the block structs of ggml (github.com/ggml-org/ggml, ``ggml.h``
and ``ggml-common.h``).
"""

from __future__ import annotations

from dataclasses import dataclass

SUPER_BLOCK = 256
"""Values of one block of the K types."""


@dataclass(frozen=True)
class BlockType:
    """One tensor type."""

    name: str
    """As llama.cpp prints it, such as "Q4_1"."""
    values: int
    """Values of one block; a row is a whole number of blocks."""
    nbytes: int
    """Bytes of one block."""


TYPES: dict[int, BlockType] = {
    0: BlockType("F32", 1, 4),
    1: BlockType("F16", 1, 2),
    2: BlockType("Q4_0", 32, 18),
    3: BlockType("Q4_1", 32, 20),
    6: BlockType("Q5_0", 32, 22),
    7: BlockType("Q5_1", 32, 24),
    8: BlockType("Q8_0", 32, 34),
    12: BlockType("Q4_K", SUPER_BLOCK, 144),
    13: BlockType("Q5_K", SUPER_BLOCK, 176),
    14: BlockType("Q6_K", SUPER_BLOCK, 210),
    30: BlockType("BF16", 1, 2),
}
"""The types that can be read, by their number in the file."""

OTHERS: dict[int, str] = {
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    29: "IQ1_M",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
}
"""Types that exist and cannot be read here, for a refusal by name."""
