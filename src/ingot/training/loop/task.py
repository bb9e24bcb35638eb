"""What a run learns and how it is judged: plain text, conversations, or preferences."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch

from ingot.corpus import Sampler, TokenStore
from ingot.errors import RecipeError
from ingot.model import Tokenizer
from ingot.model.chat import ChatTemplate, template_for
from ingot.model.transformer import Transformer
from ingot.training.compute.precision import Precision
from ingot.training.data.batch import Batch
from ingot.training.data.conversations import read_examples
from ingot.training.data.held_out import choose_held_out
from ingot.training.data.preference_pairs import read_pairs
from ingot.training.evaluation.evaluate import EvaluationStopped, evaluate
from ingot.training.objectives.fine_tuning import FineTuning
from ingot.training.objectives.ngram_soft_labels import NgramSoftLabels
from ingot.training.objectives.objective import Objective
from ingot.training.objectives.preference import Preference
from ingot.training.objectives.pretraining import Pretraining
from ingot.training.run_folder.run import FineTuningRun, PretrainingRun, Run

_PROMPT_TOKENS = 12
Stop: TypeAlias = Callable[[], bool]
_FORWARD_COST = 1 / 3  # of a token of training: forward without backward


@dataclass(frozen=True)
class Score:
    """How well a model does on what was held out."""

    loss: float
    """Nats for each prediction that counts; for preferences the loss of a pair."""
    bits_per_byte: float | None
    """None where the loss is not that of a text."""
    seconds: float


@dataclass(frozen=True)
class Task:
    """A task with its data, ready to be trained on."""

    objective: Objective
    score: Callable[[Transformer, Stop], Score]
    """Raises ``EvaluationStopped`` once the function that it is given returns True."""
    score_cost: float
    """Of one ``score``, in tokens of training."""
    prompt: list[int]
    """Beginning of something held out, for the model to continue."""
    bytes_per_token: float | None
    """UTF-8 bytes of a mean token that counts; None where the loss is not that of a text."""
    note: str = ""
    """A line for the user about the data, such as how many examples were left out."""
    text: TokenStore | None = None
    """Text that the bigram start of a new model is fitted to."""


def open_task(run: Run, model: Transformer, precision: Precision) -> Task:
    """Open the data of a run.

    Args:
        run: The run.
        model: The model with its starting weights, on its device; only preferences look at it.
        precision: The arithmetic to use.

    Raises:
        CorpusError: data is missing, malformed or too little.
        RecipeError: the recipe's task is for other data than the run has.
        TrainingError: data has changed since the run began.
    """
    kind = run.recipe.task.kind
    match run:
        case PretrainingRun() if kind == "text":
            return _text(run, precision)
        case FineTuningRun() if kind == "chat":
            return _examples(run, precision)
        case FineTuningRun() if kind == "preference":
            return _pairs(run, model, precision)
    raise RecipeError(
        f"is {kind!r}, for which the run has no data", where="task.kind", fix="start a new run"
    )


def _text(run: PretrainingRun, precision: Precision) -> Task:
    corpus, recipe = run.open_corpus(), run.recipe
    sampler = Sampler(
        corpus.train,
        context=recipe.batch.context,
        batch=recipe.batch.sequences_per_update,
        seed=recipe.run.seed,
    )
    eos_id = corpus.tokenizer.eos_id if recipe.task.separate_documents else None
    held_out, size = corpus.validation, corpus.manifest.validation.bytes
    overlap = recipe.run.evaluation_overlap

    def score(model: Transformer, stop: Stop) -> Score:
        scored = evaluate(
            model,
            held_out,
            size,
            precision=precision,
            overlap=overlap,
            context=recipe.batch.context,
            stop=stop,
        )
        return Score(scored.loss, scored.bits_per_byte, scored.seconds)

    order = recipe.task.ngram_order
    vocab_size = corpus.tokenizer.vocab_size
    labels = NgramSoftLabels(corpus.train, vocab_size=vocab_size, order=order) if order else None
    return Task(
        objective=Pretraining(
            sampler, eos_id=eos_id, soft_labels=labels, soft_epochs=recipe.task.ngram_epochs
        ),
        score=score,
        score_cost=len(held_out) * _FORWARD_COST / (1 - overlap),
        prompt=held_out.read(1, min(_PROMPT_TOKENS, len(held_out) - 1)).tolist(),
        bytes_per_token=run.record.bytes_per_token,
        text=corpus.train,
    )


def _examples(run: FineTuningRun, precision: Precision) -> Task:
    recipe, tokenizer = run.recipe, run.tokenizer
    context = recipe.batch.context
    with ChatTemplate(template_for(tokenizer)) as template:
        read = read_examples(
            run.open_data(), tokenizer, template, context=context, too_long=recipe.task.too_long
        )
    chosen = choose_held_out(read.contents(), recipe.task.held_out)
    trained = read.part(~chosen)
    held_out = read.part(chosen) if chosen.any() else trained
    seed, eos_id = recipe.run.seed, tokenizer.eos_id
    judge = FineTuning(
        held_out, context=context, batch=recipe.batch.sequences, seed=seed, eos_id=eos_id
    )
    first = held_out.answers[: held_out.starts[1]]
    bytes_per_token = _bytes_per_token(tokenizer, held_out.ids[held_out.answers].tolist())

    def score(model: Transformer, stop: Stop) -> Score:
        loss, seconds = _mean_loss(judge, model, precision, stop)
        return Score(loss, loss / math.log(2) / bytes_per_token, seconds)

    return Task(
        objective=FineTuning(
            trained,
            context=context,
            batch=recipe.batch.sequences_per_update,
            seed=seed,
            eos_id=eos_id,
        ),
        score=score,
        score_cost=len(held_out.ids) * _FORWARD_COST,
        prompt=held_out.ids[: int(first.argmax())].tolist(),
        bytes_per_token=bytes_per_token,
        note=_told(
            "conversations", read.shapes, read.cut, read.left_out, all_trained=not chosen.any()
        ),
    )


def _pairs(run: FineTuningRun, model: Transformer, precision: Precision) -> Task:
    recipe, tokenizer = run.recipe, run.tokenizer
    with ChatTemplate(template_for(tokenizer)) as template:
        read = read_pairs(
            run.open_data(),
            tokenizer,
            template,
            context=recipe.batch.context,
            too_long=recipe.task.too_long,
        )
    chosen = choose_held_out(read.contents(), recipe.task.held_out)

    def objective(part: np.ndarray[tuple[int], np.dtype[np.bool_]], batch: int) -> Preference:
        return Preference(
            read.part(part),
            model,
            batch=batch,
            beta=recipe.task.beta,
            seed=recipe.run.seed,
            eos_id=tokenizer.eos_id,
            precision=precision,
        )

    scored = chosen if chosen.any() else ~chosen
    judge = objective(scored, recipe.batch.sequences)
    example = read.part(scored).pairs[0].chosen

    def score(model: Transformer, stop: Stop) -> Score:
        loss, seconds = _mean_loss(judge, model, precision, stop)
        return Score(loss, None, seconds)

    return Task(
        objective=objective(~chosen, recipe.batch.sequences_per_update),
        score=score,
        score_cost=sum(batch.ids.size for batch in judge.all_batches()) * _FORWARD_COST,
        prompt=example.ids[: int(example.counted.argmax())].tolist(),
        bytes_per_token=None,
        note=_told("pairs", read.shapes, read.cut, read.left_out, all_trained=not chosen.any()),
    )


def _told(
    what: str, shapes: Mapping[str, int], cut: int, left_out: int, *, all_trained: bool
) -> str:
    """Return how the examples were understood, how many were too long, and what is scored."""
    kinds = ", ".join(f"{count:,} of {shape}" for shape, count in shapes.items())
    told = f"{what} read: {kinds}"
    if cut or left_out:
        told += f"; too long for the context: {cut} {what} were cut, {left_out} left out"
    if all_trained:
        told += "; none is held out, so scores are of the training examples"
    return told


class _Judge(Protocol):
    def all_batches(self) -> Iterable[Batch]: ...

    def loss(self, model: Transformer, batch: Batch, device: torch.device) -> torch.Tensor: ...


@torch.no_grad()
def _mean_loss(
    judge: _Judge, model: Transformer, precision: Precision, stop: Stop
) -> tuple[float, float]:
    """Return the mean loss over everything held out, and the seconds it took."""
    started = time.perf_counter()
    total = weight = 0.0
    for batch in judge.all_batches():
        if stop():
            raise EvaluationStopped
        with precision.autocast():
            total += judge.loss(model, batch, precision.device).item()
        weight += batch.weight
    return total / weight, time.perf_counter() - started


def _bytes_per_token(tokenizer: Tokenizer, ids: list[int]) -> float:
    return max(len(tokenizer.decode(ids).encode()), 1) / len(ids)
