"""The two phases of one model, measured side by side on this machine."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from ingot.api.inference import Model
from ingot.errors import ArtifactError
from ingot.lesson.experiments.engine_load import time_answers
from ingot.lesson.experiments.full_size import memory_digest, weights_digest
from ingot.lesson.experiments.training_bench import TrainingBench
from ingot.training.run_folder.run import open_pretraining_run

_BATCHES = (1, 4, 16)
_MOST_ANSWER_TOKENS = 100
_TRIALS = 3


@dataclass(frozen=True)
class Speed:
    """Speed of a phase at one batch size."""

    batch: int
    """Windows in an update, or users in a step."""
    milliseconds: float
    """Of one update, or of the step that gives every user one token."""
    tokens_per_second: float


@dataclass(frozen=True)
class Phases:
    """Both phases of one model, measured."""

    digest: str
    """The ingot's."""
    parameters: int
    context: int
    """Tokens in a training sequence, and the model's longest context."""
    training_digests: tuple[str, str]
    """SHA-256 over every weight before and after one update."""
    inference_digests: tuple[str, str]
    """SHA-256 over every weight before and after ``requests`` answers."""
    requests: int
    weight_bytes: int
    """float32, as they are trained."""
    gradient_bytes: int
    optimizer_bytes: int
    activation_bytes: int
    """Bytes that the forward pass of one sequence keeps for the backward pass."""
    served_bytes: int
    """Weights as stored in the ingot."""
    kv_bytes: int
    """Keys and values of one token of context, at two bytes a value."""
    training_flops: float
    """Of one token, forward and backward."""
    inference_flops: int
    """Of one token, with half a context before it."""
    training_speeds: tuple[Speed, ...]
    inference_speeds: tuple[Speed, ...]
    training_seconds: float
    """Wall time of the whole run, from its provenance."""
    training_tokens: int
    """Tokens the whole run read."""
    answer_tokens: int
    answer_seconds: float
    """One answer of ``answer_tokens`` tokens to one user alone."""

    @property
    def training_bytes(self) -> int:
        """All that training holds for one sequence."""
        return (
            self.weight_bytes + self.gradient_bytes + self.optimizer_bytes + self.activation_bytes
        )

    @property
    def break_even(self) -> float:
        """Answers after which serving has taken as long as training did."""
        return self.training_seconds / self.answer_seconds


def measure_phases(run_path: Path, model: Model, *, requests: int = 32) -> Phases:
    """Measure a run and the ingot it was sealed into.

    Args:
        run_path: The run; its best checkpoint is trained on in memory, its folder only read.
        model: The loaded ingot.
        requests: Answers to give between the digests of inference.

    Raises:
        TrainingError: it is not a run, or its checkpoint is damaged.
        ArtifactError: the ingot is of another model, or does not say how long it was trained.
    """
    run = open_pretraining_run(run_path)
    config, origin = model.ingot.config, model.ingot.manifest.provenance
    if run.model_config != config or run.record.corpus_digest != origin.corpus_digest:
        raise ArtifactError(
            f"was not sealed from {run_path}",
            where=model.ingot.path,
            fix=f"make it with: ingot freeze {run_path} --out my.ingot",
        )
    if not origin.wall_seconds or not origin.tokens:
        raise ArtifactError("does not say how it was trained", where=model.ingot.path)
    bench = TrainingBench(run)
    before = weights_digest(bench.model.state_dict())
    weights, gradients, optimizer, activations = bench.memory()
    after = weights_digest(bench.model.state_dict())
    context = config.max_position_embeddings
    training_speeds = tuple(_training_speed(bench, batch, context) for batch in _BATCHES)
    mapped = memory_digest(model.ingot)
    start = [model.ingot.tokenizer.start_id]
    answer_tokens = min(_MOST_ANSWER_TOKENS, context - 1)
    inference_speeds = tuple(_inference_speed(model, batch, answer_tokens) for batch in _BATCHES)
    answer_seconds = statistics.median(
        time_answers(model, [start], tokens=answer_tokens).seconds for _ in range(_TRIALS)
    )
    time_answers(model, [start] * requests, tokens=min(8, answer_tokens))
    return Phases(
        digest=model.digest,
        parameters=config.parameters,
        context=context,
        training_digests=(before, after),
        inference_digests=(mapped, memory_digest(model.ingot)),
        requests=requests,
        weight_bytes=weights,
        gradient_bytes=gradients,
        optimizer_bytes=optimizer,
        activation_bytes=activations,
        served_bytes=model.ingot.weight_bytes,
        kv_bytes=config.kv_bytes(),
        training_flops=config.training_flops(context),
        inference_flops=config.forward_flops((context + 1) // 2),
        training_speeds=training_speeds,
        inference_speeds=inference_speeds,
        training_seconds=origin.wall_seconds,
        training_tokens=origin.tokens,
        answer_tokens=answer_tokens,
        answer_seconds=answer_seconds,
    )


def _training_speed(bench: TrainingBench, batch: int, context: int) -> Speed:
    seconds = bench.seconds_per_update(batch)
    return Speed(batch, 1000 * seconds, batch * context / seconds)


def _inference_speed(model: Model, batch: int, tokens: int) -> Speed:
    """Time decoding: the first token, which needs the prompt read, is left out."""
    start = [model.ingot.tokenizer.start_id]
    timings = [time_answers(model, [start] * batch, tokens=tokens) for _ in range(_TRIALS)]
    seconds = statistics.median(
        (timing.seconds - timing.first_token_seconds) / max(tokens - 1, 1) for timing in timings
    )
    return Speed(batch, 1000 * seconds, batch / seconds)
