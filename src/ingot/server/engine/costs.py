"""Money and energy of requests, from the time that the engine spends on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ingot.costs import CostConfig
from ingot.energy import EnergyMeter
from ingot.server.access.api_keys import Key
from ingot.server.access.request_context import RequestContext

_MILLION = 1_000_000
Source = Literal["rapl", "watts"]


class Price(NamedTuple):
    """Cost of some seconds of the engine; None where what it follows from is not known."""

    money: float | None
    joules: float | None


@dataclass
class Account:
    """What the requests of one key to one model took, since the server started."""

    model: str
    key: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_compute_s: float = 0.0
    answer_compute_s: float = 0.0


class CostMeter:
    """Accounts of all keys, and the price of a second.

    A second costs what the machine costs for so long: its price, and its energy. The energy is
    measured by the processors' counters where these may be read, as the mean power since the
    start; otherwise it is estimated from the stated power.

    Used on the event loop alone.

    Args:
        config: Power and prices.
        energy: The processors' counters.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        config: CostConfig,
        energy: EnergyMeter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._energy = energy or EnergyMeter()
        self._clock = clock
        self._began = clock()
        self._accounts: dict[tuple[str, str], Account] = {}

    @property
    def currency(self) -> str:
        """Currency of the prices; may be empty."""
        return self._config.currency

    @property
    def source(self) -> Source | None:
        """Where the energy is from: the processors' counters or the stated power."""
        if self._energy.available:
            return "rapl"
        return None if self._config.watts is None else "watts"

    def watts(self) -> float | None:
        """Return the machine's power: the mean since the start, or as stated."""
        joules = self._energy.joules()  # also keeps the counters' turns from being missed
        elapsed = self._clock() - self._began
        if joules is None:
            return self._config.watts
        return joules / elapsed if elapsed > 0 else None

    def price(self, seconds: float) -> Price:
        """Return the cost of so many seconds of the machine."""
        watts = self.watts()
        joules = None if watts is None else watts * seconds
        return Price(self._config.money(seconds, joules), joules)

    def charge(self, context: RequestContext) -> None:
        """Add a request that ended to its account."""
        if context.model is None:
            return
        name = context.model, context.key_name
        account = self._accounts.setdefault(name, Account(*name))
        account.prompt_tokens += context.prompt_tokens
        account.completion_tokens += context.completion_tokens
        account.prompt_compute_s += context.prompt_compute_s
        account.answer_compute_s += context.answer_compute_s

    def accounts(self, key: Key | None) -> list[Account]:
        """Return the accounts that ``key`` may see; None and an ``admin`` key see all."""
        own = None if key is None or key.admin else key.name
        return [one for one in self._accounts.values() if own in (None, one.key)]

    def idle_factor(self) -> float | None:
        """Return the seconds since the start for each that an engine worked; None at first."""
        busy = sum(spent for one in self._accounts.values() for _, spent, _ in _kinds(one))
        return max(1.0, (self._clock() - self._began) / busy) if busy else None

    def metrics(self, key: Key | None) -> Iterator[Metric]:
        """Yield the accounts that ``key`` may see, and each model's cost of a million tokens."""
        seconds = CounterMetricFamily(
            "ingot:compute_seconds",
            "Engine's seconds spent on ended requests: on their prompts, on their answers.",
            labels=("model_name", "key", "kind"),
        )
        money = CounterMetricFamily(
            "ingot:cost",
            "Money for these seconds, in the currency of the prices.",
            labels=("model_name", "key", "kind"),
        )
        energy = CounterMetricFamily(
            "ingot:energy_joules",
            "Energy of these seconds: measured by the processors, or estimated from the power.",
            labels=("model_name", "key", "kind", "source"),
        )
        for account in self.accounts(key):
            for kind, spent, _ in _kinds(account):
                labels, price = (account.model, account.key, kind), self.price(spent)
                seconds.add_metric(labels, spent)
                if price.money is not None:
                    money.add_metric(labels, price.money)
                if price.joules is not None:
                    energy.add_metric((*labels, self.source or ""), price.joules)
        yield from (seconds, money, energy)
        yield from self._per_million()

    def _per_million(self) -> Iterator[Metric]:
        """Yield each model's cost of a million tokens, of all keys, without and with idle time."""
        money = GaugeMetricFamily(
            "ingot:cost_per_million_tokens",
            "Money for a million tokens; idle time left out, or shared by all tokens.",
            labels=("model_name", "kind", "idle"),
        )
        energy = GaugeMetricFamily(
            "ingot:energy_joules_per_million_tokens",
            "Energy for a million tokens; idle time left out, or shared by all tokens.",
            labels=("model_name", "kind", "idle", "source"),
        )
        factors = {"excluded": 1.0, "included": self.idle_factor()}
        for model in sorted({name for name, _ in self._accounts}):
            for kind, spent, tokens in _kinds(self._sum(model)):
                for idle, factor in factors.items():
                    if not tokens or factor is None:
                        continue
                    price = self.price(spent * factor * _MILLION / tokens)
                    if price.money is not None:
                        money.add_metric((model, kind, idle), price.money)
                    if price.joules is not None:
                        energy.add_metric((model, kind, idle, self.source or ""), price.joules)
        yield from (money, energy)

    def _sum(self, model: str) -> Account:
        total = Account(model, "")
        for one in self._accounts.values():
            if one.model == model:
                total.prompt_tokens += one.prompt_tokens
                total.completion_tokens += one.completion_tokens
                total.prompt_compute_s += one.prompt_compute_s
                total.answer_compute_s += one.answer_compute_s
        return total


def _kinds(account: Account) -> Iterator[tuple[str, float, int]]:
    """Yield the seconds and the tokens of prompts, then of answers."""
    yield "prompt", account.prompt_compute_s, account.prompt_tokens
    yield "answer", account.answer_compute_s, account.completion_tokens
