from __future__ import annotations

from ingot.lesson.experiments.frozen_weight import FrozenWeight, write_in_another_process


def test_a_frozen_weight_answers_and_cannot_be_written() -> None:
    frozen = FrozenWeight(0.25)
    assert frozen.predict(2) == 0.5
    assert frozen.try_to_write(0.3) == "ValueError: assignment destination is read-only"
    assert frozen.array[0] == 0.25


def test_the_kernel_ends_a_process_that_writes_it_by_force() -> None:
    assert write_in_another_process(0.25, 0.3) == "SIGSEGV (signal 11)"
