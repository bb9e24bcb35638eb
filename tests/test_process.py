from __future__ import annotations

import gc
import os
import subprocess
import sys

import torch

from ingot.process import collect_rarely, flush_denormals, set_torch_threads, short_pauses


class Node:
    """Something that can be part of a cycle."""

    other: Node


def test_what_is_there_is_spared_by_the_collector_until_the_end() -> None:
    before = gc.get_threshold(), sys.getswitchinterval()
    with short_pauses():
        assert gc.get_freeze_count() > 10_000  # modules alone are more
        assert gc.get_threshold()[0] > before[0][0]
        assert sys.getswitchinterval() < before[1]
        node = Node()
        node.other = node
        del node
        assert gc.collect() >= 1  # what comes later is still collected
    assert gc.get_freeze_count() == 0
    assert (gc.get_threshold(), sys.getswitchinterval()) == before


def test_a_command_collects_rarely_but_does_collect() -> None:
    before = gc.get_threshold()
    try:
        collect_rarely()
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_freeze_count() > 10_000
        node = Node()
        node.other = node
        del node
        assert gc.collect() >= 1
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_denormals_are_flushed_inside_the_block_alone() -> None:
    denormal = torch.tensor(1e-40)
    with flush_denormals():
        assert (denormal * 0.5).item() == 0
    assert (denormal * 0.5).item() > 0


def test_at_least_one_thread_is_set() -> None:
    before = torch.get_num_threads()
    try:
        set_torch_threads(0)
        assert torch.get_num_threads() == 1
    finally:
        set_torch_threads(before)


def test_importing_sets_the_spin_of_openmp_unless_it_is_given() -> None:
    code = "import os, ingot; print(os.environ['GOMP_SPINCOUNT'])"
    for given, expected in ((None, "3000"), ("7", "7")):
        environment = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
        if given:
            environment["GOMP_SPINCOUNT"] = given
        told = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True
        )
        assert told.stdout.decode().strip() == expected
