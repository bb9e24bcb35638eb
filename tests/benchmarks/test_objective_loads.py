from __future__ import annotations

import pytest

from benchmarks.http_load import Exchange
from benchmarks.objective_loads import is_in_time, least_kept


def answer(*times: float, ends: bool = True) -> Exchange:
    end = b"data: [DONE]\n\n" if ends else b""
    return Exchange(100.0, 200, [100.0 + at for at in times], bytearray(end), 100.0 + times[-1])


def test_an_answer_is_judged_by_the_clients_clock() -> None:
    steady = [0.9 + 0.04 * index for index in range(20)]
    assert is_in_time(answer(*steady))
    assert not is_in_time(answer(*(at + 0.2 for at in steady)))
    assert not is_in_time(answer(*(2 * at - 0.9 for at in steady)))
    assert not is_in_time(answer(*steady, ends=False))
    assert not is_in_time(Exchange(100.0, 429))


def test_a_fall_of_goodput_is_told_from_a_rise() -> None:
    assert least_kept([10.0, 12.0, 30.0, 40.0]) == 1
    assert least_kept([10.0, 20.0, 5.0, 40.0]) == pytest.approx(0.25)
    assert least_kept([0.0, 0.0]) == 0
