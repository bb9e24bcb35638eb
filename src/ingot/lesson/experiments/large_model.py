"""Estimate of the time to train a large model on a machine of measured speed."""

from __future__ import annotations

from dataclasses import dataclass

_SECONDS_PER_YEAR = 365.25 * 86_400


@dataclass(frozen=True)
class LargeModel:
    """A published model and the tokens it was trained on."""

    name: str
    parameters: float
    tokens: float

    def training_years(self, flops_per_second: float) -> float:
        """Return the years that training takes at this speed: 6 FLOPs per weight and token.

        Source of the 6: "Scaling laws for neural language models", arXiv:2001.08361.
        """
        return 6 * self.parameters * self.tokens / flops_per_second / _SECONDS_PER_YEAR

    def seconds_per_token(self, flops_per_second: float) -> float:
        """Return the seconds that one served token takes at this speed: 2 FLOPs per weight."""
        return 2 * self.parameters / flops_per_second


LLAMA_3_8B = LargeModel("Llama 3 8B", 8.03e9, 15e12)
"""Source: "The Llama 3 herd of models", arXiv:2407.21783."""
