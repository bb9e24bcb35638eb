"""Ranges of the numbers that say how tokens are sampled; one of each, for files and requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MAX_INT32 = 2**31 - 1

Temperature = Annotated[float, Field(ge=0, le=10)]
TopK = Annotated[int, Field(ge=0, le=MAX_INT32)]
MinP = Annotated[float, Field(ge=0, le=1)]
ProbabilityMass = Annotated[float, Field(gt=0, le=1)]
"""Range of ``top_p`` and ``typical_p``; 0 would leave no token."""
RepetitionPenalty = Annotated[float, Field(ge=0.1, le=10)]
