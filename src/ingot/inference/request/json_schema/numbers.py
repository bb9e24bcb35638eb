"""Numbers of a schema, which the grammar compiler reads as float64.

A number that float64 does not hold would become another one, and some integers near -2**63 make
the compiler recurse without end. So constants must be exact, and bounds beyond what it
computes with are moved inwards: the answer is still one that the schema allows.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from ingot.inference.request.json_schema.keywords import refusal

SAFE_INTEGER = 2**53 - 1
"""Every integer up to it is exact in float64 (RFC 8259, section 6)."""
MAX_BOUND = 2**63 - 1024
"""The largest float64 below 2**63; the compiler computes with 64-bit integers."""
_MAX_DEPTH = 64
_MAX_MULTIPLE = 2**32 - 1
"""The compiler keeps a least common multiple in 32 bits, and does not notice an overflow."""
_MAX_DECIMALS = 9


def check_constant(value: Any, keyword: str, path: str, depth: int = 0) -> None:
    """Refuse a constant that holds a number which is not exact in float64, at any depth.

    Raises:
        UsageError: there is one, or the value nests too deeply.
    """
    if depth > _MAX_DEPTH:
        raise refusal(keyword, path, f"nests deeper than {_MAX_DEPTH}", "make it flatter")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            check_constant(item, keyword, path, depth + 1)
    elif isinstance(value, int | float) and abs(value) > SAFE_INTEGER:
        shown = str(value) if abs(value) < 10**40 else "a number"
        problem = f"holds {shown}, past ±(2**53 - 1), where numbers are not exact"
        raise refusal(keyword, path, problem, "give it as a string")


def inner_bound(value: Any, keyword: str, path: str) -> int | float | bool:
    """Return the bound nearest to a given one, on its inside, that the compiler can use.

    Args:
        value: The bound; a boolean is draft 4's ``exclusiveMinimum``.
        keyword: Which of the four bounds it is.
        path: The schema's.

    Raises:
        UsageError: it is not a number, or leaves nothing that can be written.
    """
    if isinstance(value, bool):
        return value
    if not isinstance(value, int | float):
        raise refusal(keyword, path, "is not a number", "give a number")
    lower = keyword in {"minimum", "exclusiveMinimum"}
    if (value > MAX_BOUND) if lower else (value < -MAX_BOUND):
        raise refusal(keyword, path, "leaves numbers past ±2**63 alone", "give a wider range")
    bound: int | float = max(min(value, MAX_BOUND), -MAX_BOUND)
    if abs(bound) <= SAFE_INTEGER:
        return bound
    nearest = float(bound)
    if lower and nearest < bound:
        nearest = math.nextafter(nearest, math.inf)
    if not lower and nearest > bound:
        nearest = math.nextafter(nearest, -math.inf)
    return int(nearest)


class Multiples:
    """All ``multipleOf`` of one schema, which must be small enough to be combined."""

    def __init__(self) -> None:
        self._distinct: set[Fraction] = set()

    def add(self, value: Any, path: str) -> None:
        """Count one.

        Raises:
            UsageError: it is not a positive number, or has too many digits.
        """
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise refusal("multipleOf", path, "is not a positive number", "give one")
        # Compared first: an integer may be too large for a float, or to be written out.
        exact = Fraction(repr(value)) if value <= _MAX_MULTIPLE else Fraction(0)
        scaled = exact * 10**_MAX_DECIMALS
        if scaled.denominator > 1 or not 0 < exact.numerator <= _MAX_MULTIPLE:
            raise refusal("multipleOf", path, "has too many digits", "give fewer digits")
        self._distinct.add(exact)

    def check_combined(self) -> None:
        """Refuse multiples whose least common one might overflow.

        Raises:
            UsageError: they might.
        """
        if len(self._distinct) < 2:
            return
        scale = math.lcm(*(value.denominator for value in self._distinct))
        if math.prod(int(value * scale) for value in self._distinct) > _MAX_MULTIPLE:
            problem = "differs too much from the others of a schema that combines them"
            raise refusal("multipleOf", "#", problem, "give fewer or smaller ones")
