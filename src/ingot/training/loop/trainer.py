"""The training loop: begin or resume a run, step until its end, finish.

State lives in ``RunState`` (counters), the weights and the optimizer; together they are a
checkpoint, and a run that stops anywhere resumes from its last one.
"""

from __future__ import annotations

import threading
import time

from ingot.errors import Interrupted
from ingot.model.transformer import Transformer
from ingot.process import flush_denormals, set_torch_threads
from ingot.training.compute.compile import compiled
from ingot.training.compute.fused_modules import fuse
from ingot.training.compute.precision import Precision
from ingot.training.compute.recompute import recompute_blocks
from ingot.training.config.recipe import make_recipe
from ingot.training.data.batch import Batch
from ingot.training.distributed.data_parallel import Workers
from ingot.training.distributed.fsdp import shard_model
from ingot.training.initialization.first_weights import first_weights, load_start, seeded
from ingot.training.loop import between_steps
from ingot.training.loop.changed_recipe import require_more
from ingot.training.loop.controls import Controls
from ingot.training.loop.guard import Guard
from ingot.training.loop.memory import lack_of_memory_named
from ingot.training.loop.outcomes import read_late, record_outcomes, settle, stop_with_batch
from ingot.training.loop.session import Session
from ingot.training.loop.task import open_task
from ingot.training.loop.train_step import train_step
from ingot.training.loop.triggers import Due, due_between
from ingot.training.lora.files import begin_adapter
from ingot.training.monitoring.events import Observer, Started
from ingot.training.monitoring.progress import Progress
from ingot.training.monitoring.run_reporter import RunReporter, TrainingResult
from ingot.training.optim.optimizer import Optimizer
from ingot.training.run_folder import checkpoint, checkpoint_tensors
from ingot.training.run_folder.async_checkpoint import Saver
from ingot.training.run_folder.run import Run
from ingot.training.run_folder.run_state import RunState


class Trainer:
    """Trains one run to its end, from its last checkpoint if there is one.

    Args:
        run: The run.
        observe: Called with each event, from the training thread.
        interrupted: Once set, the run checkpoints after the current update and stops.
        workers: This process's rank among those that train the run; alone by default.
        controls: Requests from outside, such as a pause.
        begun: When the work on this sitting began, by ``time.perf_counter``, so that what was
            done before counts against a budget; now by default.

    Raises:
        CorpusError: data is missing, malformed or too little.
        ResourceError: the recipe asks for compiling, and there is no compiler.
        TrainingError: data, or the ingot it began from, has changed since the run began.
    """

    def __init__(
        self,
        run: Run,
        observe: Observer,
        interrupted: threading.Event,
        workers: Workers | None = None,
        controls: Controls | None = None,
        begun: float | None = None,
    ) -> None:
        self._begun = time.perf_counter() if begun is None else begun
        self._run, self._recipe = run, run.recipe
        self._interrupted, self._controls = interrupted, controls or Controls()
        self._workers = workers or Workers()
        self._precision = Precision.choose(run.recipe.run.precision)
        if self._workers.is_main:
            checkpoint.sweep(run.path)
        self._workers.barrier()  # no process lists the checkpoints before that
        self._found = checkpoint.folders(run.path)
        self._model = Transformer(run.model_config).to(self._precision.device)
        self._model.tokens = run.tokenizer.vocab_size
        fuse(self._model, self._precision)
        self._start = load_start(run, self._model, resumes=bool(self._found))
        self._task = open_task(run, self._model, self._precision)
        if run.recipe.lora is not None:
            # Of a run that resumes, the checkpoint holds the adapter's weights.
            resumed = {"start": None} if self._found else {}
            lora = run.recipe.lora.model_copy(update=resumed)
            begin_adapter(self._model, lora, seeded(run))
        if run.recipe.batch.recompute:
            recompute_blocks(self._model)
        self._compiled_model = self._model
        if run.recipe.run.compile:
            self._compiled_model = compiled(self._model, self._precision.device)
        keep, every_s = run.recipe.run.keep_checkpoints, run.recipe.run.checkpoint_seconds
        self._saver = Saver(run.path, keep=keep, every_s=every_s)
        self._last_batch: Batch | None = None
        self._checkpointed = time.perf_counter()
        self._scoring_s = 0.0
        # The peak was measured on all CPUs of the machine, but on one GPU.
        devices = self._workers.count if self._precision.device.type == "cuda" else 1
        unit, is_main = self._task.bytes_per_token, self._workers.is_main
        self._reporter = RunReporter(run, observe, unit, is_main=is_main, devices=devices)

    def train(self) -> TrainingResult:
        """Train to the end of the recipe.

        Raises:
            CorpusError: a changed recipe is for other data than the run has seen.
            Interrupted: asked to stop; a checkpoint was written.
            RecipeError: the budget does not allow one update, or a changed recipe none beyond
                those that were made.
            ResourceError: memory or disk does not suffice.
            TrainingError: losses or weights are not finite, or a checkpoint is damaged.
        """
        set_torch_threads(self._workers.threads)  # an engine may have set fewer
        try:
            with flush_denormals(), lack_of_memory_named(self._run):
                return self._train()
        finally:
            self._task.objective.close()
            self._saver.wait()

    def _train(self) -> TrainingResult:
        recipe = self._recipe.model_dump(mode="json")
        state = RunState(corpus_digest=self._run.record.corpus_digest, recipe=recipe)
        if self._found:
            state = checkpoint.read_state(self._found[-1])
            self._task.objective.restore(state.sampler)
        progress = Progress(
            self._recipe.run,
            lambda: self._task.objective.epoch,
            elapsed_before=state.elapsed,
            setup_s=state.setup_s,
            begun=self._begun,
        )
        changed = state.recipe is not None and state.recipe != recipe
        if changed:
            require_more(state, make_recipe(state.recipe or {}), self._recipe, progress)
            state = state.following(recipe)
        if state.finished:
            return self._reporter.result(state)
        # Everything that may be refused comes before the first byte is written.
        session, note = self._begin(state, progress)
        session.save_recipe = changed
        with self._reporter.recording(from_step=state.step):
            config = self._run.model_config
            sizes = config.parameters, config.vocab_size
            self._reporter(Started(*sizes, state.step, note, self._run.path.name))
            while (done := self._share_done(session)) < 1:
                self._step(session, done)
            self._finish(session)
        return self._reporter.result(session.state)

    def _begin(self, state: RunState, progress: Progress) -> tuple[Session, str]:
        """Load or draw the weights and the optimizer state; return the session and a note."""
        run, model, before = self._run, self._model, self._found[-1] if self._found else None
        note = str(self._precision)
        if before is None:
            note += f", {first_weights(run, model, self._start, self._task.text)}"
        else:
            between_steps.load_checkpoint_weights(model, before)
        self._workers.broadcast_params(model.state_dict().values())
        sharded = self._recipe.run.shard and self._workers.count > 1
        if sharded:
            shard_model(model)
        # Only now: the optimizer's state is sharded as the parameters are.
        optimizer = Optimizer(model, self._recipe.optimizer, self._precision.dtype)
        if before is not None:
            optimizer.load_state_tensors(checkpoint_tensors.read_optimizer(before))
        session = Session(
            run=run,
            workers=self._workers,
            precision=self._precision,
            model=model,
            compiled_model=self._compiled_model,
            task=self._task,
            optimizer=optimizer,
            guard=Guard(self._recipe.guard, state.recent_losses, self._precision.device),
            progress=progress,
            saver=self._saver,
            reporter=self._reporter,
            sharded=sharded,
            interrupted=self._interrupted,
            state=state,
        )
        if self._compiled_model is not model:
            note += ", compiled in the first update"
        return session, f"{note}; {self._task.note}" if self._task.note else note

    def _share_done(self, session: Session) -> float:
        """Return the share of the run that is done, the same in every process."""
        return self._workers.broadcast(session.progress.share(session.state.step))

    def _step(self, session: Session, done: float) -> None:
        """Make one training step and whatever is due after it."""
        started = time.perf_counter()
        step = train_step(session, self._recipe.schedule.lr_scale(done))
        self._last_batch = step.batch
        session.pending.append(step)
        outcomes = read_late(session)
        seconds = time.perf_counter() - started
        sequences, length = step.batch.ids.shape
        speed = session.progress.count(seconds, sequences * (length - 1))
        session.reporter.count(speed, length - 1)
        self._scoring_s = self._task.score_cost / speed
        session.progress.keep_to_budget(session.state.step, seconds, self._scoring_s)
        record_outcomes(session, outcomes)
        self._after_step(session, done)

    def _after_step(self, session: Session, done_before: float) -> None:
        """Sample, evaluate, checkpoint and stop where due; never save a non-finite weight."""
        if self._workers.is_main:
            between_steps.report_written(session, self._saver.written())
        due = Due(int(self._workers.broadcast(self._due(session, done_before).value)))
        if due:
            settle(session)
            due = self._do(session, due)
        if Due.AT_ONCE in due or self._controls.pause_requested:
            self._saver.hurry()
        if self._workers.is_main:
            session.progress.leave_out(self._controls.wait(self._interrupted))
        if Due.STOP in due:
            between_steps.report_written(session, self._saver.wait())
            raise self._stopped(session.state.step)

    def _do(self, session: Session, due: Due) -> Due:
        """Sample, evaluate and checkpoint; return what is due with a stop that cut this short."""
        scored = True
        if session.takes_part and between_steps.weights_are_finite(session):
            if Due.SAMPLE in due:
                between_steps.write_sample(session)
            if Due.EVALUATION in due:
                scored = between_steps.evaluate_model(session)
            if Due.CHECKPOINT in due:
                self._checkpoint(session)
        if Due.EVALUATION in due and not self._workers.broadcast(scored):
            due |= Due.STOP
        return due

    def _due(self, session: Session, done_before: float) -> Due:
        """Return what is due after this step; the main process decides for all."""
        if not self._workers.is_main:
            return Due(0)
        run, done = self._recipe.run, session.progress.share(session.state.step)
        due = due_between(done_before, done, run.samples, run.evaluations)
        if not session.progress.allows_aside():
            due &= ~Due.SAMPLE
        if not session.progress.allows_aside(self._scoring_s):
            due &= ~Due.EVALUATION
        if done < 1 and self._interrupted.is_set():
            due |= Due.STOP | Due.CHECKPOINT
        waited = time.perf_counter() - self._checkpointed > run.checkpoint_seconds
        if self._controls.take_checkpoint():
            due |= Due.CHECKPOINT | Due.AT_ONCE
        elif waited:
            due |= Due.CHECKPOINT
        return due

    def _checkpoint(self, session: Session) -> None:
        self._checkpointed = time.perf_counter()
        between_steps.save_checkpoint(session)

    def _stopped(self, step: int) -> Interrupted:
        """Return the error that says from where the run can be resumed."""
        saved, kept = checkpoint.folders(self._run.path), "checkpoint written"
        if not saved:
            kept = "no checkpoint, because a weight was not finite"
        elif checkpoint.step_of(saved[-1]) != step:
            kept = f"the last checkpoint is of update {checkpoint.step_of(saved[-1])}"
        return Interrupted(
            f"stopped after {step} updates, {kept}",
            where=self._run.path,
            fix=f"continue with: ingot resume {self._run.path}",
        )

    def _finish(self, session: Session) -> None:
        settle(session)
        if not between_steps.weights_are_finite(session):
            problem = "a weight was not finite at the end"
            stop_with_batch(session, problem, session.state.step, self._last_batch)
        scored = True
        if session.takes_part:
            scored = between_steps.evaluate_model(session)
            if scored:
                session.state = session.state.as_finished()
            self._checkpoint(session)
            between_steps.report_written(session, self._saver.wait())
        if not self._workers.broadcast(scored):  # the run ends in all processes at once
            raise self._stopped(session.state.step)
