"""Both phases in one picture: the table, memory by kind, and where serving overtakes training."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ingot.lesson.experiments.phases import Phases
from ingot.lesson.report.picture import Box, Path, Picture, Words
from ingot.lesson.report.tables import phase_rows, size, time

_PAPER, _INK, _QUIET, _LINE = "#fffefc", "#1e2227", "#5d656e", "#d9d8d4"
_HOT, _STEEL = "#c2500f", "#5b646d"
_KINDS = ("#5b646d", "#8b9198", "#b3541e", "#f0a15e")
_WIDTH, _LEFT, _RIGHT = 960, 40, 920
_COLUMNS = (_LEFT, 270, 600)
_ROW = 26


def draw(phases: Phases, name: str) -> Picture:
    """Draw what was measured.

    Args:
        phases: The figures.
        name: The ingot's, for the title.
    """
    rows = phase_rows(phases)
    table_bottom = 110 + _ROW * len(rows)
    picture = Picture(
        _WIDTH, table_bottom + 300, _PAPER, f"Training and inference of {name}, side by side"
    )
    picture.shapes += [
        Words(_LEFT, 50, f"Two phases of {name}", _INK, 24),
        Words(_RIGHT, 50, f"digest {phases.digest[:16]}", _QUIET, 12, "end"),
        Words(_COLUMNS[1], 88, "training", _HOT, 14),
        Words(_COLUMNS[2], 88, "inference", _STEEL, 14),
    ]
    _table(picture, rows)
    _memory(picture, phases, table_bottom + 40)
    _overtaking(picture, phases, table_bottom + 40)
    return picture


def _table(picture: Picture, rows: Sequence[tuple[str, str, str]]) -> None:
    for index, row in enumerate(rows):
        y = 98 + _ROW * index
        picture.shapes.append(Path(((_LEFT, y), (_RIGHT, y)), _LINE, 1))
        for x, text, color in zip(_COLUMNS, row, (_QUIET, _INK, _INK), strict=True):
            picture.shapes.append(Words(x, y + 18, text, color))


def _memory(picture: Picture, phases: Phases, top: float) -> None:
    """Draw one stacked bar for each phase: what it holds for one window of text."""
    context = phases.kv_bytes * phases.context
    training = (
        phases.weight_bytes,
        phases.gradient_bytes,
        phases.optimizer_bytes,
        phases.activation_bytes,
    )
    names = ("weights", "gradients", "optimizer", "for the text")
    largest = sum(training)
    picture.shapes.append(Words(_LEFT, top, "Memory for one window of text", _INK, 15))
    bars = (("training", training), ("inference", (phases.served_bytes, 0, 0, context)))
    for index, (phase, parts) in enumerate(bars):
        y = top + 26 + 56 * index
        label = f"{phase}, {size(sum(parts))}"
        picture.shapes.append(Words(_LEFT, y + 8, label, _QUIET, 12))
        x: float = _LEFT
        for part, color in zip(parts, _KINDS, strict=True):
            width = 400 * part / largest
            picture.shapes.append(Box(x, y + 14, width, 20, color))
            x += width
    for index, (name, color) in enumerate(zip(names, _KINDS, strict=True)):
        x = _LEFT + 100 * index
        picture.shapes += [
            Box(x, top + 150, 10, 10, color),
            Words(x + 15, top + 159, name, _QUIET, 12),
        ]


def _overtaking(picture: Picture, phases: Phases, top: float) -> None:
    """Draw time spent against answers given, both by powers of ten."""
    left, right, bottom = 540, _RIGHT, top + 190
    decades = max(2, math.ceil(math.log10(phases.break_even)) + 1)
    picture.shapes.append(Words(left, top, "Time spent, by answers given", _INK, 15))

    def point(answers: float, seconds: float) -> tuple[float, float]:
        x = left + (right - left) * math.log10(answers) / decades
        least, most = math.log10(phases.answer_seconds), decades + math.log10(phases.answer_seconds)
        y = bottom - (bottom - top - 30) * (math.log10(seconds) - least) / (most - least)
        return x, y

    for power in range(decades + 1):
        x, _ = point(10**power, 1)
        picture.shapes += [
            Path(((x, top + 30), (x, bottom)), _LINE, 1),
            Words(x, bottom + 18, f"{10**power:,}", _QUIET, 11, "middle"),
        ]
    last = 10.0**decades
    spent = phases.training_seconds
    crossing = point(phases.break_even, spent)
    picture.shapes += [
        Path((point(1, spent), point(last, spent)), _HOT, 2),
        Path(
            (point(1, phases.answer_seconds), point(last, last * phases.answer_seconds)), _STEEL, 2
        ),
        Box(crossing[0] - 4, crossing[1] - 4, 8, 8, _INK),
        Words(left + 6, crossing[1] - 8, f"training, once: {time(spent)}", _HOT, 12),
        Words(
            right - 6, bottom - 12, f"an answer: {time(phases.answer_seconds)}", _STEEL, 12, "end"
        ),
        Words(
            right, bottom + 40, f"they meet at {phases.break_even:,.0f} answers", _INK, 12, "end"
        ),
    ]
