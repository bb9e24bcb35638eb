"""Energy and money that a run takes, from figures that its owner gives."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

_SECONDS_PER_HOUR = 3600.0


class CostConfig(BaseModel):
    """Power and prices of the machine; without them there is no estimate."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    watts: float | None = Field(None, gt=0)
    """Power that the machine draws during training, in watts."""
    price_per_kwh: float = Field(0.0, ge=0)
    """Price of a kilowatt-hour."""
    price_per_hour: float = Field(0.0, ge=0)
    """Price of an hour of the machine, such as its rent."""
    currency: str = Field("", max_length=8)
    """Currency of the prices, for display."""

    def energy_kwh(self, seconds: float) -> float | None:
        """Return the energy that training for so long takes; None where power is not known."""
        return None if self.watts is None else self.watts / 1000 * seconds / _SECONDS_PER_HOUR

    def money(self, seconds: float) -> float | None:
        """Return what training for so long costs; None where no price is known."""
        if self.price_per_hour == 0 and (self.watts is None or self.price_per_kwh == 0):
            return None
        energy = self.energy_kwh(seconds) or 0.0
        return seconds / _SECONDS_PER_HOUR * self.price_per_hour + energy * self.price_per_kwh

    def told(self, seconds: float) -> str:
        """Return both as people read them; empty where neither is known."""
        energy, money = self.energy_kwh(seconds), self.money(seconds)
        parts = [] if energy is None else [f"{energy:.3g} kWh"]
        parts += [] if money is None else [f"{money:.2f} {self.currency}".strip()]
        return ", ".join(parts)
