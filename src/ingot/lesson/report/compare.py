"""``ingot compare``: both phases of one model, measured, as a table, a page and a plot."""

from __future__ import annotations

from html import escape
from pathlib import Path

from ingot.api import inference
from ingot.errors import ResourceError
from ingot.files import write_atomic
from ingot.lesson.experiments.phases import Phases, measure_phases
from ingot.lesson.report.phase_plot import plot_phases
from ingot.lesson.report.tables import phase_rows

_STYLE = (
    "body{max-width:60rem;margin:2rem auto;padding:0 1rem;background:#fffefc;color:#1e2227;"
    "font:1rem/1.6 system-ui,sans-serif}table{border-collapse:collapse;width:100%}"
    "th,td{padding:.35rem .75rem .35rem 0;border-top:1px solid #d9d8d4;text-align:left;"
    "vertical-align:top}th{color:#5d656e;font-weight:600}svg{max-width:100%;margin-top:2rem}"
)


def compare(run: Path, ingot: Path) -> Phases:
    """Measure both phases of a run and its ingot.

    Raises:
        TrainingError: ``run`` is not a run, or its checkpoint is damaged.
        ArtifactError: ``ingot`` is not an ingot, or not one of this run.
    """
    with inference.load(ingot) as model:
        return measure_phases(run, model)


def write_report(phases: Phases, name: str, out: Path) -> tuple[Path, Path]:
    """Write ``OUT.html`` and ``OUT.png``; return both paths.

    Args:
        phases: What was measured.
        name: The ingot's name.
        out: Path without its ending.

    Raises:
        ResourceError: the folder cannot be written.
    """
    png, svg = plot_phases(phases, name)
    page, image = (out.with_name(f"{out.name}{ending}") for ending in (".html", ".png"))
    try:
        write_atomic(page, _page(phases, name, svg).encode())
        write_atomic(image, png)
    except OSError as error:
        raise ResourceError(
            f"cannot be written ({error.strerror})", where=out, fix="choose another --out"
        ) from error
    return page, image


def _page(phases: Phases, name: str, svg: str) -> str:
    """Return a page without any further files."""
    title = escape(f"Two phases of {name}")
    rows = "".join(
        f'<tr><th scope="row">{escape(what)}</th><td>{escape(training)}</td>'
        f"<td>{escape(inference)}</td></tr>"
        for what, training, inference in phase_rows(phases)
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>{phases.parameters:,} parameters, digest {escape(phases.digest)}.</p>"
        '<table><thead><tr><td></td><th scope="col">training</th><th scope="col">inference</th>'
        f"</tr></thead><tbody>{rows}</tbody></table>{svg}</html>\n"
    )
