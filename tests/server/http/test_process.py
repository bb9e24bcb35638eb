from __future__ import annotations

import gc
import sys

from ingot.server.http.process import answering_comes_first


class Node:
    """Something that can be part of a cycle."""

    other: Node


def test_what_is_there_is_spared_by_the_collector_until_the_end() -> None:
    before = gc.get_threshold(), sys.getswitchinterval()
    with answering_comes_first():
        assert gc.get_freeze_count() > 10_000  # modules alone are more
        assert gc.get_threshold()[0] > before[0][0]
        assert sys.getswitchinterval() < before[1]
        node = Node()
        node.other = node
        del node
        assert gc.collect() >= 1  # what comes later is still collected
    assert gc.get_freeze_count() == 0
    assert (gc.get_threshold(), sys.getswitchinterval()) == before
