"""Outcomes of training steps: read, counted and reported."""

from __future__ import annotations

import time
from typing import NoReturn

from ingot.training.data.batch import Batch
from ingot.training.loop.between_steps import load_checkpoint, report_written
from ingot.training.loop.guard import give_up
from ingot.training.loop.pending_step import Outcome, PendingStep
from ingot.training.loop.session import Session, outcome_lag
from ingot.training.monitoring.events import Skipped
from ingot.training.run_folder import checkpoint

Read = list[tuple[PendingStep, Outcome]]


def read_outcomes(session: Session, *, keep: int = 0) -> Read:
    """Wait for the outcomes of all pending steps but the latest ``keep``."""
    read = []
    while len(session.pending) > keep:
        step = session.pending.popleft()
        read.append((step, step.wait()))
    return read


def read_late(session: Session) -> Read:
    """Wait for the outcomes that are due while the device computes the latest step.

    The first step is waited for, because set-up ends with it, and the second where its time
    is checked against a budget. With roll-back every step is, because a step after a spike
    would be undone with it.
    """
    timed = 1 if session.run.recipe.run.budget_seconds is None else 2
    waits = session.state.step <= timed or session.run.recipe.guard.on_spike == "roll_back"
    return read_outcomes(session, keep=0 if waits else outcome_lag(session.precision.device))


def settle(session: Session) -> None:
    """Wait for every outcome and record it; the time counts as that of the steps."""
    started = time.perf_counter()
    if read := read_outcomes(session):
        session.progress.count(time.perf_counter() - started, 0)
        record_outcomes(session, read)


def record_outcomes(session: Session, read: Read) -> None:
    """Count steps and report them.

    Raises:
        TrainingError: too many non-finite steps in a row.
    """
    for step, outcome in read:
        if outcome.spike:
            _skip_spike(session, step, outcome)
        elif outcome.finite:
            _record_applied(session, step, outcome)
        else:
            _skip(session, step, outcome)


def stop_with_batch(session: Session, problem: str, step: int, batch: Batch | None) -> NoReturn:
    """Save a batch from the main process and end the run.

    Raises:
        TrainingError: always.
    """
    ids = batch.ids if batch and session.workers.is_main else None
    give_up(session.run.path, problem, step, ids)


def _record_applied(session: Session, step: PendingStep, outcome: Outcome) -> None:
    session.state = session.state.with_applied_loss(outcome.loss)
    progress = session.progress
    done = min(progress.share(step.state.step), 1.0)
    seconds = progress.elapsed, progress.seconds_left(step.state.step)
    session.reporter.stepped(
        step.state, outcome.loss, outcome.gradient_norm, step.lr_scale, done, seconds
    )


def _skip(session: Session, step: PendingStep, outcome: Outcome) -> None:
    session.state = session.state.with_skipped(finite=False)
    in_a_row, total = session.state.skipped_in_a_row, session.state.skipped
    number = step.state.step
    session.reporter(Skipped(number, outcome.loss, outcome.gradient_norm, in_a_row, total))
    if in_a_row >= session.run.recipe.guard.max_skipped:
        problem = f"loss or gradient was not finite {in_a_row} updates in a row"
        stop_with_batch(session, problem, number, step.batch)


def _skip_spike(session: Session, step: PendingStep, outcome: Outcome) -> None:
    """Count a loss spike, and return to the last checkpoint where the recipe says so."""
    session.state, back_to = session.state.with_skipped(finite=True), None
    if session.run.recipe.guard.on_spike == "roll_back":
        report_written(session, session.saver.wait())
        session.workers.barrier()  # no process reads the checkpoint before it is written
        if found := checkpoint.folders(session.run.path):
            load_checkpoint(session.model, session.optimizer, found[-1])
            back_to = checkpoint.read_state(found[-1]).step
    loss, norm, total = outcome.loss, outcome.gradient_norm, session.state.skipped
    session.reporter(Skipped(step.state.step, loss, norm, 0, total, "spike", back_to))
