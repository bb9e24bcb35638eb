from __future__ import annotations

import pytest

from ingot.costs import CostConfig, read_price
from ingot.errors import UsageError


def test_money_is_of_hours_and_of_energy() -> None:
    config = CostConfig(watts=500, price_per_kwh=0.3, price_per_hour=0.4)
    assert config.money(3600) == pytest.approx(0.4 + 0.15)
    assert config.money(3600, joules=3.6e6) == pytest.approx(0.4 + 0.3)  # measured: 1 kWh
    assert CostConfig(price_per_hour=0.4).money(1800) == pytest.approx(0.2)
    assert CostConfig(watts=500).money(3600) is None
    assert CostConfig(price_per_kwh=0.3).money(3600) is None
    assert CostConfig(price_per_kwh=0.3).money(3600, joules=3.6e6) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("0.40/h", {"price_per_hour": 0.4}),
        ("0.40 EUR/h", {"price_per_hour": 0.4, "currency": "EUR"}),
        (" 1€ / kWh ", {"price_per_kwh": 1.0, "currency": "€"}),
        (".5/kWh", {"price_per_kwh": 0.5}),
    ],
)
def test_prices_are_read(text: str, fields: dict[str, object]) -> None:
    assert read_price(text) == fields


@pytest.mark.parametrize(
    "text", ["", "0.4", "EUR/h", "-1/h", "nan/h", "1/day", "1 dollars-too-many/h"]
)
def test_what_is_not_a_price_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--price: .* is not a price; write it as 0\.40/h"):
        read_price(text)
