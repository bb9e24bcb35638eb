from __future__ import annotations

import pytest

from ingot.corpus.build import left_out
from ingot.corpus.build.build_state import BuildState
from ingot.corpus.build.left_out import LeftOut
from ingot.corpus.reading.report import Reason


@pytest.mark.parametrize("after", [0, 1, 5, 30])
def test_documents_are_left_out_again_for_the_same_reasons(
    monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(left_out, "_AT_ONCE", 3)
    noted = dict.fromkeys(range(2, 20, 2), Reason.DUPLICATE)
    noted |= {7: Reason.NEAR_DUPLICATE, 19: Reason.NEAR_DUPLICATE}
    with BuildState() as state:
        for number, reason in sorted(noted.items()):
            LeftOut(state).add(number, reason)
        again = LeftOut(state, after=after)
        for number in range(after + 1, 25):
            assert again.reason(number) == noted.get(number)
