from __future__ import annotations

import threading

from ingot.training.loop.controls import Controls


def test_a_checkpoint_is_taken_once_for_each_request() -> None:
    controls = Controls()
    assert not controls.take_checkpoint()
    controls.checkpoint()
    assert controls.take_checkpoint()
    assert not controls.take_checkpoint()


def test_a_pause_lasts_until_it_is_ended_from_another_thread() -> None:
    controls, interrupted = Controls(), threading.Event()
    assert controls.wait(interrupted) < 0.05
    controls.pause()
    assert controls.pause_requested
    threading.Timer(0.2, controls.resume).start()
    assert controls.wait(interrupted) >= 0.19
    assert not controls.pause_requested


def test_a_stop_ends_a_pause() -> None:
    controls, interrupted = Controls(), threading.Event()
    controls.pause()
    threading.Timer(0.2, interrupted.set).start()
    controls.wait(interrupted)
    assert controls.pause_requested
