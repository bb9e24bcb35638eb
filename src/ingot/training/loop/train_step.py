"""One training step: draw, accumulate, judge, update, hand over the outcome."""

from __future__ import annotations

import torch

from ingot.training.compute.flops import training_flops
from ingot.training.distributed.fsdp import set_gradient_sync
from ingot.training.loop.pending_step import PendingStep
from ingot.training.loop.session import Session


def train_step(session: Session, lr_scale: float) -> PendingStep:
    """Update the weights once, unless the guard rejects the update.

    Nothing here waits for a GPU: the step is queued, and its outcome is read later.

    Args:
        session: The run; the step is counted in its state.
        lr_scale: Factor of every learning rate.

    Raises:
        RecipeError: the batch has fewer sequences than processes times accumulation.
    """
    objective, workers, optimizer = session.task.objective, session.workers, session.optimizer
    model, device = session.model, session.precision.device

    # Draw: every process draws the whole batch, so that all keep the same position in the data.
    batch = objective.next_batch()
    micro_batches = workers.shard(batch, session.run.recipe.batch.accumulation)

    # Accumulate: each sum is divided by what counts in the whole batch, so that neither loss nor
    # gradients depend on how the batch is split.
    loss = torch.zeros((), device=device)
    for index, micro_batch in enumerate(micro_batches):
        set_gradient_sync(model, enabled=index == len(micro_batches) - 1)
        with session.precision.autocast():
            summed = objective.loss(session.compiled_model, micro_batch, device)
        micro_loss = summed / batch.weight
        micro_loss.backward()  # type: ignore[no-untyped-call]
        loss += micro_loss.detach()
    workers.all_reduce(loss)
    if not session.sharded:  # FSDP2 reduces gradients within the backward pass
        workers.all_reduce_gradients(model.parameters())

    # Judge, on the device: nothing waits for the verdict.
    gradient_norm = optimizer.clip()
    verdict = session.guard.judge(loss, gradient_norm)

    # Update: a rejected step leaves weights and moments as they are.
    optimizer.step(lr_scale, verdict.accepted)
    optimizer.zero_grad()

    # Outcome.
    sequences, length = batch.ids.shape
    context = length - 1
    tokens = sequences * context
    session.state = session.state.with_step(
        tokens=tokens,
        flops=tokens * training_flops(model.config, session.run.recipe.lora, context),
        sampler=objective.state(),
    )
    return PendingStep(session.state, lr_scale, batch, loss, gradient_norm, verdict)
