from __future__ import annotations

import pytest

from ingot.cluster.nodes import parse_nodes
from ingot.errors import UsageError


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("12", 12)])
def test_a_number_of_workers(text: str, count: int) -> None:
    assert parse_nodes(text) == count


@pytest.mark.parametrize("text", ["", "0", "-1", "two", "1:2", "2.0", "٣", "9" * 9])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--nodes: must be a number of workers"):
        parse_nodes(text)
