"""Limit on what one tenant's work may cost another's.

Decodes beside each other are cheap, not free, and a chunk of a prompt may take as long as a
hundred of them. So each tenant has a credit of seconds (a token bucket). It grows by a share of
the time of all steps, and the tenant's tokens are paid with the time they add to a step. A
tenant without credit waits, but for each fourth step, in which it runs as many tokens as the
other tenant that has the least to run. A tenant that is alone, or has no more to run than any
other, is not limited, but for the length of a step with prompts. Work without a tenant never is.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping

from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.step_cost import StepCost

BURST_S = 0.5
"""Most seconds that a tenant saves up, so that a short prompt is read at once."""
STEP_S = 0.05
"""Most seconds that prompts of one tenant alone take in a step: another may come."""
STEP_TOKENS = 128
"""Tokens that it may run at least; with fewer, prompts are read less efficiently."""
_TURN = 4
"""One in so many limited steps is a turn of the tenants without credit."""
_PROBE = 16
"""One in so many is left to the tenant that has the least to run: what the others add is known
only beside what a step takes without them."""


class TenantShare:
    """Tokens that each tenant may run in a step.

    Args:
        share: Part of the engine's time by which a tenant's credit grows; with ``n`` tenants at
            most one nth. 1 means that there is no limit.
        max_step_tokens: The token budget of a step.
    """

    def __init__(self, share: float, max_step_tokens: int) -> None:
        self._share = share
        self._max_step_tokens = max_step_tokens
        self._cost = StepCost()
        self._earned = 0.0
        """Seconds that every tenant has earned since the start."""
        self._spent: dict[str, float] = {}
        """``_earned`` less the credit, of tenants whose credit is not full."""
        self._demand: dict[str, tuple[int, int]] = {}
        """Of each tenant, its rank by the operator and the tokens it could run in this step."""
        self._decoding: dict[str, int] = {}
        """How many of these are decodes."""
        self._least = 0
        """The smallest demand."""
        self._limits: dict[str, int] = {}
        self._used = Counter[str]()
        self._limited_steps = 0
        self.watching = False
        """Whether steps are counted: a server without keys need not take the time."""
        self._turns = itertools.count(1)

    def watch(self, tenant: str) -> None:
        """Count steps from the first named tenant on."""
        self.watching = self.watching or bool(tenant and self._share < 1)

    def begin(self) -> None:
        """Begin a step; before ``choose_decodes`` nobody is limited."""
        if any(self._limits[one] < self._demand.get(one, (0, 1))[1] for one in self._limits):
            self._limited_steps += 1
        self._demand = {}
        self._limits.clear()
        self._used.clear()

    def choose_decodes(
        self, running: Iterable[Sequence], newcomer: Sequence | None
    ) -> list[Sequence]:
        """Return the sequences that decode in a step.

        The users of a limited tenant take turns, and so do their sequences. Where it has prompts
        to read as well, they get half of what it may run.

        Args:
            running: The running sequences.
            newcomer: A sequence of a further tenant that can be admitted in this step.
        """
        if not self.watching:
            return [one for one in running if one.length - one.computed == 1]
        decodes, prompts = self._count(running, newcomer)
        chosen: list[Sequence] = []
        for tenant, ready in decodes.items():
            most = len(ready)
            if self._demand[tenant][1] > self._least:
                most = self.left(ready[0])
                if tenant in prompts and most < self._demand[tenant][1]:
                    half = (most + self._limited_steps // _TURN % 2) // 2
                    most = max(half, most - prompts[tenant])
            chosen += ready if len(ready) <= most else self._in_turn(ready, most)
            self._used[tenant] = min(len(ready), most)
        return chosen

    def left(self, sequence: Sequence) -> int:
        """Return how many more tokens the tenant of a sequence may run in this step."""
        tenant = sequence.options.tenant
        if not tenant or not self._demand or self._share >= 1:
            return self._max_step_tokens
        if tenant not in self._limits:
            self._limits[tenant] = self._limit(tenant, sequence.tenant_priority)
        return self._limits[tenant] - self._used[tenant]

    def use(self, sequence: Sequence, tokens: int) -> None:
        """Note tokens that a sequence runs in this step, decodes aside."""
        self._used[sequence.options.tenant] += tokens

    def charge(self, tokens: Mapping[str, int], seconds: float) -> None:
        """End a step: each tenant pays for the time that its tokens added.

        Args:
            tokens: The step's tokens by tenant.
            seconds: The step's duration.
        """
        total = sum(tokens.values())
        self._cost.observe(total, seconds)
        self._earned += seconds * min(self._share, 1 / len(tokens))
        whole = self._cost.seconds(total)
        for tenant, count in tokens.items():
            # What a step of one token takes is nobody's, so one answer alone keeps its credit.
            added = whole - self._cost.seconds(max(total - count, 1))
            self._spent[tenant] = self._earned - max(self._credit(tenant) - added, 0.0)
        full = self._earned - BURST_S
        self._spent = {name: spent for name, spent in self._spent.items() if spent > full}

    def _count(
        self, running: Iterable[Sequence], newcomer: Sequence | None
    ) -> tuple[dict[str, list[Sequence]], Counter[str]]:
        """Take the demand of all tenants; return their decodes and their tokens of prompts."""
        decodes: dict[str, list[Sequence]] = {}
        prompts = Counter[str]()
        ranks: dict[str, int] = {}
        for one in running:
            tenant = one.options.tenant
            ranks[tenant] = one.tenant_priority
            if one.length - one.computed == 1:
                decodes.setdefault(tenant, []).append(one)
            else:
                prompts[tenant] += one.length - one.computed
        if newcomer is not None:
            ranks[newcomer.options.tenant] = newcomer.tenant_priority
            prompts[newcomer.options.tenant] += newcomer.length
        self._demand = {
            name: (rank, min(len(decodes.get(name, ())) + prompts[name], self._max_step_tokens))
            for name, rank in ranks.items()
        }
        self._decoding = {name: len(ready) for name, ready in decodes.items()}
        self._least = min((demand for _, demand in self._demand.values()), default=0)
        return decodes, prompts

    def _credit(self, tenant: str) -> float:
        """Return a tenant's credit in seconds."""
        return min(self._earned - self._spent.get(tenant, -BURST_S), BURST_S)

    def _in_turn(self, ready: list[Sequence], most: int) -> list[Sequence]:
        """Return the sequences of a tenant whose turn it is: one of each user, then a second."""
        users: dict[str, list[Sequence]] = {}
        for one in sorted(ready, key=_turn):
            users.setdefault(one.options.user, []).append(one)
        lines = sorted(users.values(), key=lambda line: line[-1].turn)
        rounds = itertools.chain.from_iterable(itertools.zip_longest(*lines))
        chosen = list(itertools.islice(filter(None, rounds), most))
        for one in chosen:
            one.turn = next(self._turns)
        return chosen

    def _limit(self, tenant: str, rank: int) -> int:
        """Return how many tokens a tenant may run in this step.

        Tenants that the operator ranks lower do not limit it.
        """
        others = [
            demand
            for name, (other_rank, demand) in self._demand.items()
            if name != tenant and other_rank <= rank
        ]
        if not others:
            short = self._cost.tokens_within(STEP_S, 1, self._max_step_tokens)
            return self._decoding.get(tenant, 0) + max(short, STEP_TOKENS)
        own = self._demand.get(tenant, (rank, self._max_step_tokens))[1]
        if self._limited_steps % _PROBE == 1 and own > self._least:
            return 0
        least = min(others)
        paid = self._cost.tokens_within(
            self._credit(tenant), least * len(others), self._max_step_tokens
        )
        return paid if self._limited_steps % _TURN else max(paid, least)


def _turn(sequence: Sequence) -> int:
    return sequence.turn
