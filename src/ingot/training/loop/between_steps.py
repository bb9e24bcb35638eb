"""Evaluation, sampling and checkpoints between training steps."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from ingot.errors import TrainingError
from ingot.model.transformer import Transformer
from ingot.training.distributed.fsdp import full_weights, load_weights, local
from ingot.training.evaluation.evaluate import EvaluationStopped
from ingot.training.evaluation.sample import sample
from ingot.training.loop.guard import is_finite
from ingot.training.loop.session import Session
from ingot.training.monitoring.events import Checkpointed, Evaluated, Sampled
from ingot.training.optim.optimizer import Optimizer
from ingot.training.run_folder import checkpoint, checkpoint_tensors
from ingot.training.run_folder.run import save_recipe

_SAMPLE_TOKENS = 48


def evaluate_model(session: Session) -> bool:
    """Score the held-out data and report it; return whether it was done before a stop."""
    try:
        scored = session.task.score(session.model, session.stop)
    except EvaluationStopped:
        return False
    best_before = session.state.best_loss
    session.progress.count_aside(scored.seconds)
    state = session.state = session.state.with_evaluation(scored.loss, scored.bits_per_byte)
    best = best_before is None or scored.loss < best_before
    session.reporter(Evaluated(state.step, scored.loss, scored.bits_per_byte, scored.seconds, best))
    return True


def write_sample(session: Session) -> None:
    """Let the model continue the task's prompt and report it."""
    tokenizer, prompt = session.run.tokenizer, session.task.prompt
    started = time.perf_counter()
    text = sample(
        session.model,
        tokenizer,
        prompt,
        tokens=_SAMPLE_TOKENS,
        precision=session.precision,
        seed=session.run.recipe.run.seed,
        stop=session.stop,
    )
    session.progress.count_aside(time.perf_counter() - started)
    session.reporter(Sampled(session.state.step, tokenizer.decode(prompt), text))


def save_checkpoint(session: Session) -> None:
    """Copy a checkpoint and start writing it; every process that holds weights must call this."""
    session.state = session.state.with_progress(
        elapsed=session.progress.elapsed,
        setup_s=session.progress.setup_s,
        recent_losses=session.guard.losses(),
    )
    weights, optimizer = full_weights(session.model), session.optimizer.state_tensors()
    if session.workers.is_main:
        report_written(session, session.saver.save(session.state, weights, optimizer))


def report_written(session: Session, folder: Path | None) -> None:
    """Report a checkpoint that is on disk, if there is one."""
    if folder is not None:
        if session.save_recipe:  # only now has anything been trained with it
            save_recipe(session.run.path, session.run.recipe)
            session.save_recipe = False
        session.reporter(Checkpointed(checkpoint.step_of(folder), str(folder)))


def weights_are_finite(session: Session) -> bool:
    """Tell whether every weight is finite, in every process that holds a part of them."""
    nonfinite = not is_finite(map(local, session.model.parameters()))
    count = torch.tensor(float(nonfinite), device=session.precision.device)
    if session.sharded:
        session.workers.all_reduce(count)
    return count.item() == 0


def load_checkpoint(model: Transformer, optimizer: Optimizer, folder: Path) -> None:
    """Put the weights and the optimizer state of a checkpoint back.

    Raises:
        TrainingError: it is damaged, or of another model.
    """
    load_checkpoint_weights(model, folder)
    optimizer.load_state_tensors(checkpoint_tensors.read_optimizer(folder))


def load_checkpoint_weights(model: Transformer, folder: Path) -> None:
    """Put the weights of a checkpoint back.

    Raises:
        TrainingError: they are damaged, or of another model.
    """
    try:
        load_weights(model, checkpoint_tensors.read_weights(folder))
    except RuntimeError as error:
        raise TrainingError(
            "does not fit the recipe's model", where=folder, fix="start a new run"
        ) from error
