"""The training loop: predict the next token, compare, update, repeat; lose nothing.

State lives in ``RunState`` (counters), the weights and the optimizer; together
they are a checkpoint, and a run that is stopped anywhere goes on from its last.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path
from typing import NoReturn

import torch

from ingot.errors import Interrupted, RecipeError, TrainingError
from ingot.model.transformer import Transformer
from ingot.process import flush_denormals, set_torch_threads
from ingot.training.compute.compile import compiled, recompute_blocks
from ingot.training.compute.fused_modules import fuse
from ingot.training.compute.precision import Precision
from ingot.training.data.batch import Batch
from ingot.training.distributed.data_parallel import Workers
from ingot.training.distributed.fsdp import load_weights, part, shard, whole_weights
from ingot.training.evaluation.sample import sample
from ingot.training.initialization.first_weights import first_weights, load_start, seeded
from ingot.training.loop.controls import Controls
from ingot.training.loop.guard import Guard, give_up, is_finite
from ingot.training.loop.memory import lack_of_memory_named
from ingot.training.loop.task import open_task
from ingot.training.loop.train_step import GivenUpdate, Outcome, Updater
from ingot.training.loop.triggers import Due, due_between
from ingot.training.lora.adapter import attach
from ingot.training.monitoring.events import (
    Checkpointed,
    Evaluated,
    Observer,
    Sampled,
    Skipped,
    Started,
)
from ingot.training.monitoring.progress import Progress
from ingot.training.monitoring.run_reporter import Teller, TrainingResult
from ingot.training.optim.optimizer import Optimizer
from ingot.training.run_folder import checkpoint, checkpoint_tensors
from ingot.training.run_folder.async_checkpoint import Saver
from ingot.training.run_folder.run import Run
from ingot.training.run_folder.run_state import RunState

_SMOOTHING = 0.95  # of the training loss that is reported
_SAMPLE_TOKENS = 48


class Trainer:
    """Trains one run to its end, from its last checkpoint if there is one."""

    def __init__(
        self,
        run: Run,
        observe: Observer,
        interrupted: threading.Event,
        workers: Workers | None = None,
        controls: Controls | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            run: The run.
            observe: Called with each event, from the training thread.
            interrupted: Once set, the run checkpoints after the current update and stops.
            workers: This process's rank among those that train the run; alone by default.
            controls: Wishes of whoever watches.

        Raises:
            CorpusError: data is missing, malformed or too little.
            ResourceError: the recipe asks for compiling, and there is no compiler.
            TrainingError: data, or the ingot it began from, has changed since the run began.
        """
        self._run, self._recipe = run, run.recipe
        self._interrupted, self._controls = interrupted, controls or Controls()
        self._workers = workers or Workers()
        self._precision = Precision.choose(run.recipe.run.precision)
        self._config = run.model_config
        self._found = checkpoint.folders(run.path)
        self._model = Transformer(self._config).to(self._precision.device)
        fuse(self._model, self._precision)
        self._start = load_start(run, self._model, goes_on=bool(self._found))
        self._task = open_task(run, self._model, self._precision)
        if run.recipe.lora is not None:
            attach(self._model, run.recipe.lora, seeded(run))
        if run.recipe.batch.recompute:
            recompute_blocks(self._model)
        self._learner = self._model
        if run.recipe.run.compile:
            self._learner = compiled(self._model, self._precision.device)
        self._sharded = run.recipe.run.shard and self._workers.count > 1
        keep, every_s = run.recipe.run.keep_checkpoints, run.recipe.run.checkpoint_seconds
        self._saver = Saver(run.path, keep=keep, every_s=every_s)
        self._state = RunState(corpus_digest=run.record.corpus_digest)
        self._batch: Batch | None = None
        self._pending: deque[GivenUpdate] = deque()
        self._checkpointed = time.perf_counter()
        # A peak is that of a whole machine's CPUs, but of one GPU.
        devices = self._workers.count if self._precision.device.type == "cuda" else 1
        unit, leads = self._task.bytes_per_token, self._workers.leads
        self._tell = Teller(run, observe, unit, leads=leads, devices=devices)

    def train(self) -> TrainingResult:
        """Train to the end of the recipe.

        Raises:
            Interrupted: asked to stop; a checkpoint was written.
            RecipeError: the budget does not allow one update.
            ResourceError: memory or disk does not suffice.
            TrainingError: the loss is no number any more, or a checkpoint is damaged.
        """
        set_torch_threads(self._workers.threads)  # an engine may have set fewer
        try:
            with flush_denormals(), lack_of_memory_named(self._run):
                return self._train()
        finally:
            self._task.objective.close()
            self._saver.wait()

    def _train(self) -> TrainingResult:
        if self._workers.leads:
            checkpoint.sweep(self._run.path)
        if self._found:
            self._state = checkpoint.read_state(self._found[-1])
            self._task.objective.restore(self._state.sampler)
        self._progress = Progress(
            self._recipe.run,
            lambda: self._task.objective.epoch,
            elapsed_before=self._state.elapsed,
        )
        with self._tell.recording(from_step=self._state.step):
            note = self._prepare()
            parameters, vocab_size = self._config.parameters, self._config.vocab_size
            self._tell(Started(parameters, vocab_size, self._state.step, note))
            while not self._state.finished and (share := self._share()) < 1:
                self._advance(share)
            if not self._state.finished:
                self._finish()
        return self._tell.result(self._state)

    def _prepare(self) -> str:
        """Bring weights and optimizer to where the run goes on; return a line on how."""
        run, before = self._run, self._found[-1] if self._found else None
        if before is None:
            note = first_weights(run, self._model, self._start, self._task.text)
            note = f"{self._precision}, {note}"
        else:
            note = str(self._precision)
            self._load_weights(before)
        self._workers.spread(self._model.state_dict().values())
        if self._sharded:
            shard(self._model)
        self._optimizer = Optimizer(self._model, self._recipe.optimizer, self._precision.dtype)
        device = self._precision.device
        self._guard = Guard(self._recipe.guard, self._state.recent_losses, device)
        self._updater = Updater(
            self._model,
            self._learner,
            self._task.objective,
            self._optimizer,
            self._guard,
            self._workers,
            self._precision,
            passes=self._recipe.batch.accumulation,
        )
        if before is not None:
            self._optimizer.load_state_tensors(checkpoint_tensors.read_optimizer(before))
        if self._learner is not self._model:
            note += ", compiled in the first update"
        return f"{note}; {self._task.note}" if self._task.note else note

    def _load_weights(self, folder: Path) -> None:
        try:
            load_weights(self._model, checkpoint_tensors.read_weights(folder))
        except RuntimeError as error:
            raise TrainingError(
                "does not fit the recipe's model", where=folder, fix="start a new run"
            ) from error

    def _share(self) -> float:
        """Return the share of the run that is done, the same in every process."""
        return self._workers.agree(self._progress.share(self._state.step))

    def _advance(self, share_before: float) -> None:
        """Make one update and whatever is due after it."""
        started = time.perf_counter()
        rate = self._recipe.schedule.multiplier(share_before)
        batch = self._batch = self._task.objective.next_batch()
        outcome = self._updater.make(batch, rate)
        rows, length = batch.ids.shape
        tokens, context = rows * (length - 1), length - 1
        self._change(
            step=self._state.step + 1,
            tokens=self._state.tokens + tokens,
            flops=self._state.flops + tokens * self._config.training_flops(context),
            sampler=self._task.objective.state(),
        )
        self._pending.append(GivenUpdate(self._state, rate, batch, outcome))
        read = self._read(but=self._behind)
        seconds = time.perf_counter() - started
        speed = self._progress.count(seconds, tokens)
        self._tell.count(speed, context)
        self._progress.keep_to_budget(self._state.step, seconds, self._task.score_cost / speed)
        self._record(read)
        self._after_update(share_before)

    @property
    def _behind(self) -> int:
        """Updates whose outcome is not waited for.

        The first shows how long one takes; and what follows a spike that is rolled back would be
        undone with it.
        """
        waits = self._state.step == 1 or self._recipe.guard.on_spike == "roll_back"
        return 0 if waits else self._updater.behind

    def _read(self, *, but: int = 0) -> list[tuple[GivenUpdate, Outcome]]:
        """Wait for what became of the updates that were made, but the last few."""
        read = []
        while len(self._pending) > but:
            update = self._pending.popleft()
            read.append((update, update.outcome.read()))
        return read

    def _settle(self) -> None:
        """Wait for what became of every update; the time is that of those updates."""
        started = time.perf_counter()
        if read := self._read():
            self._progress.count(time.perf_counter() - started, 0)
            self._record(read)

    def _record(self, updates: list[tuple[GivenUpdate, Outcome]]) -> None:
        """Count updates and tell of them."""
        for update, outcome in updates:
            if outcome.spike:
                self._skip_spike(update, outcome)
            elif outcome.sound:
                self._made(update, outcome)
            else:
                self._skip(update, outcome)

    def _made(self, update: GivenUpdate, outcome: Outcome) -> None:
        """Record an update that was made."""
        loss, smoothed = outcome.loss, self._state.training_loss
        smoothed = loss if smoothed is None else _SMOOTHING * smoothed + (1 - _SMOOTHING) * loss
        self._change(training_loss=smoothed, skipped_in_a_row=0)
        share = min(self._progress.share(update.state.step), 1.0)
        seconds = self._progress.elapsed, self._progress.seconds_left(update.state.step)
        self._tell.stepped(update.state, loss, outcome.gradient_norm, update.rate, share, seconds)

    def _skip(self, update: GivenUpdate, outcome: Outcome) -> None:
        """Record an update that touched no weight; after too many in a row end the run."""
        in_a_row, total = self._state.skipped_in_a_row + 1, self._state.skipped + 1
        self._change(skipped_in_a_row=in_a_row, skipped=total)
        step, loss, norm = update.state.step, outcome.loss, outcome.gradient_norm
        self._tell(Skipped(step, loss, norm, in_a_row, total))
        if in_a_row >= self._recipe.guard.max_skipped:
            problem = f"loss or gradient was no finite number {in_a_row} updates in a row"
            self._give_up(problem, step, update.batch)

    def _skip_spike(self, update: GivenUpdate, outcome: Outcome) -> None:
        """Record an update left out for its loss, and go back to a checkpoint if that is wished."""
        total, back_to = self._state.skipped + 1, None
        self._change(skipped=total, skipped_in_a_row=0)
        if self._recipe.guard.on_spike == "roll_back":
            self._tell_written(self._saver.wait())
            self._workers.agree(0)  # nobody looks before it is written
            if found := checkpoint.folders(self._run.path):
                self._load_weights(found[-1])
                self._optimizer.load_state_tensors(checkpoint_tensors.read_optimizer(found[-1]))
                back_to = checkpoint.read_state(found[-1]).step
        step, loss, norm = update.state.step, outcome.loss, outcome.gradient_norm
        self._tell(Skipped(step, loss, norm, 0, total, "spike", back_to))

    def _give_up(self, problem: str, step: int, batch: Batch | None) -> NoReturn:
        windows = batch.ids if batch and self._workers.leads else None
        give_up(self._run.path, problem, step, windows)

    def _after_update(self, share_before: float) -> None:
        """Sample, evaluate, checkpoint and stop where due, unless a weight is no number."""
        if self._workers.leads:
            self._tell_written(self._saver.written())
        due = Due(int(self._workers.agree(self._due(share_before).value)))
        if due:
            self._settle()
        if self._takes_part and due and self._is_finite():
            if Due.SAMPLE in due:
                self._sample()
            if Due.EVALUATION in due:
                self._evaluate()
            if Due.CHECKPOINT in due:
                self._checkpoint()
        if Due.AT_ONCE in due or self._controls.paused:
            self._saver.hurry()
        if self._workers.leads:
            self._progress.leave_out(self._controls.wait(self._interrupted))
        if Due.STOP in due:
            self._tell_written(self._saver.wait())
            raise self._stopped()

    def _stopped(self) -> Interrupted:
        """Say where the run can be gone on with; a weight that is no number is never saved."""
        step, saved = self._state.step, checkpoint.folders(self._run.path)
        kept = "checkpoint written"
        if not saved:
            kept = "no checkpoint, for a weight was no finite number"
        elif checkpoint.step_of(saved[-1]) != step:
            kept = f"the last checkpoint is of update {checkpoint.step_of(saved[-1])}"
        return Interrupted(
            f"stopped after {step} updates, {kept}",
            where=self._run.path,
            fix=f"continue with: ingot resume {self._run.path}",
        )

    def _due(self, share_before: float) -> Due:
        """Return what is to be done after this update; the first process decides for all."""
        if not self._workers.leads:
            return Due(0)
        run, share = self._recipe.run, self._progress.share(self._state.step)
        due = due_between(share_before, share, run.samples, run.evaluations)
        if share < 1 and self._interrupted.is_set():
            due |= Due.STOP | Due.CHECKPOINT
        waited = time.perf_counter() - self._checkpointed > run.checkpoint_seconds
        if self._controls.take_checkpoint():
            due |= Due.CHECKPOINT | Due.AT_ONCE
        elif waited:
            due |= Due.CHECKPOINT
        return due

    @property
    def _takes_part(self) -> bool:
        """Whether this process scores, samples and saves: alone, or all where none holds all."""
        return self._workers.leads or self._sharded

    def _is_finite(self) -> bool:
        """Tell whether every weight is a number, wherever it lies."""
        unsound = not is_finite(map(part, self._model.parameters()))
        count = torch.tensor(float(unsound), device=self._precision.device)
        if self._sharded:
            self._workers.add(count)
        return count.item() == 0

    def _finish(self) -> None:
        self._settle()
        if self._state.step == 0:
            raise RecipeError(
                "the budget was spent before the first update", where="budget", fix="give more"
            )
        if not self._is_finite():
            problem = "a weight was no finite number at the end"
            self._give_up(problem, self._state.step, self._batch)
        if self._takes_part:
            self._evaluate()
            self._change(finished=True)
            self._checkpoint()
            self._tell_written(self._saver.wait())
        self._workers.agree(0)  # the run is over for all at once

    def _evaluate(self) -> None:
        scored = self._task.score(self._model)
        best = self._state.best_loss is None or scored.loss < self._state.best_loss
        self._change(validation_loss=scored.loss, bits_per_byte=scored.bits_per_byte)
        if best:
            self._change(best_loss=scored.loss, best_step=self._state.step)
        self._tell(
            Evaluated(self._state.step, scored.loss, scored.bits_per_byte, scored.seconds, best)
        )

    def _sample(self) -> None:
        text = sample(
            self._model,
            self._run.tokenizer,
            self._task.prompt,
            tokens=_SAMPLE_TOKENS,
            precision=self._precision,
            seed=self._recipe.run.seed,
        )
        self._tell(Sampled(self._state.step, self._run.tokenizer.decode(self._task.prompt), text))

    def _checkpoint(self) -> None:
        """Have a checkpoint written, if this update has none yet."""
        self._change(elapsed=self._progress.elapsed, recent_losses=self._guard.losses())
        self._checkpointed = time.perf_counter()
        weights, optimizer = whole_weights(self._model), self._optimizer.state_tensors()
        if self._workers.leads:
            self._tell_written(self._saver.save(self._state, weights, optimizer))

    def _tell_written(self, folder: Path | None) -> None:
        if folder is not None:
            self._tell(Checkpointed(checkpoint.step_of(folder), str(folder)))

    def _change(self, **values: object) -> None:
        """Set counters."""
        self._state = self._state.model_copy(update=values)
