"""Energy and money that computing takes, from figures that the machine's owner gives."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field

from ingot.errors import UsageError

_SECONDS_PER_HOUR = 3600.0
_JOULES_PER_KWH = 3.6e6
_PRICE = re.compile(
    r"(?P<amount>\d+(\.\d*)?|\.\d+) *(?P<currency>[^\s\d/]{0,8}) */ *(?P<unit>h|kWh)"
)


class CostConfig(BaseModel):
    """Power and prices of the machine; without them there is no estimate."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    watts: float | None = Field(None, gt=0)
    """Power that the machine draws while it computes, in watts."""
    price_per_kwh: float = Field(0.0, ge=0)
    """Price of a kilowatt-hour."""
    price_per_hour: float = Field(0.0, ge=0)
    """Price of an hour of the machine, such as its rent."""
    currency: str = Field("", max_length=8)
    """Currency of the prices, for display."""

    def energy_kwh(self, seconds: float) -> float | None:
        """Return the energy that computing for so long takes; None where power is not known."""
        return None if self.watts is None else self.watts / 1000 * seconds / _SECONDS_PER_HOUR

    def money(self, seconds: float, joules: float | None = None) -> float | None:
        """Return what computing for so long costs; None where no price is known.

        Args:
            seconds: The time.
            joules: The energy, where it was measured; None takes that of ``watts``.
        """
        energy = self.energy_kwh(seconds) if joules is None else joules / _JOULES_PER_KWH
        if self.price_per_hour == 0 and (energy is None or self.price_per_kwh == 0):
            return None
        return (
            seconds / _SECONDS_PER_HOUR * self.price_per_hour + (energy or 0.0) * self.price_per_kwh
        )

    def told(self, seconds: float) -> str:
        """Return both as people read them; empty where neither is known."""
        energy, money = self.energy_kwh(seconds), self.money(seconds)
        parts = [] if energy is None else [f"{energy:.3g} kWh"]
        parts += [] if money is None else [f"{money:.2f} {self.currency}".strip()]
        return ", ".join(parts)


def read_price(text: str) -> dict[str, float | str]:
    """Return the fields of ``CostConfig`` that a price such as ``0.40 EUR/h`` sets.

    Raises:
        UsageError: it is not an amount, perhaps a currency, and ``/h`` or ``/kWh``.
    """
    found = _PRICE.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"{text[:40]!r} is not a price",
            where="--price",
            fix="write it as 0.40/h or 0.30EUR/kWh",
        )
    field = "price_per_hour" if found["unit"] == "h" else "price_per_kwh"
    fields: dict[str, float | str] = {field: float(found["amount"])}
    if found["currency"]:
        fields["currency"] = found["currency"]
    return fields
