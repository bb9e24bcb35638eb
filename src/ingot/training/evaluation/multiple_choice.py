"""Multiple-choice questions, answered by likelihood: which choice does the model expect most?

As in the Language Model Evaluation Harness (arXiv:2405.14782): nothing is
generated; each choice is scored as a continuation of its question.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingot.corpus.reading.jsonl import kind_of
from ingot.errors import CorpusError
from ingot.model import Tokenizer
from ingot.model.transformer import Transformer
from ingot.training.compute.precision import Precision
from ingot.training.data.answers import ScoredTokens
from ingot.training.data.records import Record, read_records
from ingot.training.evaluation.scoring import open_model
from ingot.training.objectives.answers import log_probabilities


@dataclass(frozen=True)
class Question:
    """One question, checked."""

    prompt: str
    choices: tuple[str, ...]
    """Continuations of the prompt, two or more, all different."""
    answer: int
    """Index of the right one."""
    origin: str
    """Such as ``task.jsonl:12``."""


@dataclass(frozen=True)
class MultipleChoiceResult:
    """How often the right choice was the likeliest."""

    accuracy: float
    """Share of questions whose right choice has the highest log-probability."""
    standard_error: float
    """Of ``accuracy``: √(p (1 - p) / questions)."""
    normalised_accuracy: float
    """The same with each log-probability divided by the choice's UTF-8 bytes."""
    normalised_standard_error: float
    """Of ``normalised_accuracy``."""
    chance: float
    """Accuracy to expect of guessing."""
    questions: int
    shortened: int
    """Choices whose question lost its beginning because both did not fit the context."""
    seconds: float


def score_multiple_choice(path: Path, task_file: Path) -> MultipleChoiceResult:
    r"""Let the run or ingot at ``path`` answer the questions of a JSONL file.

    A line holds ``choices``, ``answer`` (the index of the right choice, from 0)
    and either ``prompt``, which every choice continues as it is written, or
    ``question``, which becomes ``Question: ...\nAnswer:`` and each choice after
    a space.

    Raises:
        CorpusError: the file cannot be read, or a line is not a question or does not fit.
        TrainingError: the run's checkpoint is missing or damaged.
        ArtifactError: the ingot is missing, malformed or fails a digest.
    """
    questions = read_questions(task_file)
    model, tokenizer = open_model(path)
    precision = Precision.choose()
    return answer_questions(model.to(precision.device), tokenizer, questions, precision=precision)


def read_questions(path: Path) -> list[Question]:
    """Read questions from JSONL.

    Raises:
        CorpusError: the file cannot be read, or a line is not a question.
    """
    return [_question(record) for record in read_records([path])]


def answer_questions(
    model: Transformer,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    *,
    precision: Precision,
) -> MultipleChoiceResult:
    """Score every choice and count where the right one is the likeliest.

    Args:
        model: The model, on the device of ``precision``.
        tokenizer: Its tokenizer.
        questions: At least one.
        precision: The arithmetic to use.

    Raises:
        CorpusError: a choice does not fit the model's context.
    """
    started = time.perf_counter()
    context = model.config.max_position_embeddings
    rows: list[ScoredTokens] = []
    shortened = 0
    for question in questions:
        for choice in question.choices:
            row = _encode(question, choice, tokenizer)
            fitting = _shorten(row, context, question.origin)
            shortened += fitting is not row
            rows.append(fitting)
    scores = log_probabilities(model, rows, tokenizer.eos_id, precision)
    right = normalised = 0
    end = 0
    for question in questions:
        start, end = end, end + len(question.choices)
        sizes = np.array([len(choice.encode()) for choice in question.choices])
        right += int(scores[start:end].argmax()) == question.answer
        normalised += int((scores[start:end] / sizes).argmax()) == question.answer
    count = len(questions)
    return MultipleChoiceResult(
        accuracy=right / count,
        standard_error=_standard_error(right / count, count),
        normalised_accuracy=normalised / count,
        normalised_standard_error=_standard_error(normalised / count, count),
        chance=sum(1 / len(question.choices) for question in questions) / count,
        questions=count,
        shortened=shortened,
        seconds=time.perf_counter() - started,
    )


def _question(record: Record) -> Question:
    values = record.values
    if ("prompt" in values) == ("question" in values):
        record.refuse("must have either 'prompt' or 'question'", "give one of them as text")
    choices = values.get("choices")
    if not isinstance(choices, list) or len(choices) < 2:
        record.refuse("has no list of 'choices'", "give two texts or more")
    texts = tuple(
        record.checked(choice, f"choice {number}") for number, choice in enumerate(choices)
    )
    if len(set(texts)) < len(texts):
        record.refuse("has two equal choices", "make them differ")
    answer = values.get("answer")
    if type(answer) is not int:
        record.refuse(f"'answer' is {kind_of(answer)}", "give the index of the right choice")
    if not 0 <= answer < len(texts):
        record.refuse(
            f"'answer' is {answer}, no index of {len(texts)} choices", "count choices from 0"
        )
    if "prompt" in values:
        return Question(record.text("prompt", empty=True), texts, answer, record.origin)
    asked = f"Question: {record.text('question')}\nAnswer:"
    return Question(asked, tuple(f" {text}" for text in texts), answer, record.origin)


def _encode(question: Question, choice: str, tokenizer: Tokenizer) -> ScoredTokens:
    """Begin a document with the question and one choice, each encoded by itself."""
    before = tokenizer.encode(question.prompt)
    after = tokenizer.encode(choice, continues=True)
    ids = np.array([tokenizer.start_id, *before, *after], np.int32)
    return ScoredTokens(ids, np.arange(len(ids)) > len(before))


def _shorten(row: ScoredTokens, context: int, origin: str) -> ScoredTokens:
    """Drop a question's beginning until it fits with its choice."""
    excess = max(0, len(row.ids) - (context + 1))
    if excess and row.counted[excess]:
        raise CorpusError(
            f"has a choice of {row.counted.sum()} tokens, the model's context is {context}",
            where=origin,
            fix="shorten the choice, or use a model with a longer context",
        )
    return ScoredTokens(row.ids[excess:], row.counted[excess:]) if excess else row


def _standard_error(share: float, count: int) -> float:
    return math.sqrt(share * (1 - share) / count)
