from __future__ import annotations

import pytest

from ingot.server.access.key_shares import BURST_S, KeyShares


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_key_beside_another_may_take_its_share_and_what_it_saved_up(clock: Clock) -> None:
    """FAULTS A4, A6, A7: one key's long texts take a tenth of a CPU from the others."""
    shares, taken = KeyShares(0.1, clock), 0.0
    with shares.open("one"), shares.open("other"):
        while clock.now < 100:
            if wait_s := shares.wait_s("one"):
                clock.now += wait_s
            shares.charge("one", 0.02)
            taken += 0.02
    assert 10 <= taken <= 10 + BURST_S + 0.05
    assert shares.wait_s("other") == 0


def test_a_key_alone_does_not_wait_nor_pay(clock: Clock) -> None:
    shares = KeyShares(0.1, clock)
    with shares.open("one"), shares.open("one"):
        shares.charge("one", 100.0)
        assert shares.wait_s("one") == 0
        with shares.open("other"):
            assert shares.wait_s("one") == 0  # what it took alone cost nobody anything
            shares.charge("one", 1.0)
            assert shares.wait_s("one") == pytest.approx(10 - BURST_S * 10)
        assert shares.wait_s("one") == 0


@pytest.mark.parametrize(("share", "key"), [(1.0, "one"), (0.1, "")])
def test_without_a_limit_or_without_keys_nobody_waits(clock: Clock, share: float, key: str) -> None:
    shares = KeyShares(share, clock)
    with shares.open(key), shares.open("other"):
        shares.charge(key, 100.0)
        assert shares.wait_s(key) == 0
