"""The verbs that show both phases: demo, lesson, compare."""

from __future__ import annotations

import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ingot.cli.options import IngotFolder, Json, Port, RunFolder, say, stderr
from ingot.errors import Interrupted
from ingot.interruption import stoppable

app = typer.Typer()


@app.command(epilog="Example: **ingot demo --budget 60s --once**")
def demo(
    budget: Annotated[str, typer.Option(help="Wall time of the training.")] = "5m",
    folder: Annotated[Path, typer.Option(help="Folder of the corpus and the run.")] = Path("demo"),
    out: Annotated[Path, typer.Option(help="The ingot to make.")] = Path("demo.ingot"),
    port: Port = 8000,
    once: Annotated[
        bool, typer.Option("--once", help="Request one completion, check it, and stop.")
    ] = False,
    json: Json = False,
) -> None:
    """Run all stages: build a corpus, train, freeze, verify, serve."""
    from ingot.demo.run_demo import run_demo

    report = run_demo(stderr(), budget=budget, folder=folder, out=out, port=port, once=once)
    if json:
        say(True, dataclasses.asdict(report), "")


@app.command("demo-chat", epilog="Example: **ingot demo-chat --once**")
def demo_chat(
    out: Annotated[Path, typer.Option(help="The ingot to make.")] = Path("demo-chat.ingot"),
    port: Port = 8000,
    once: Annotated[
        bool, typer.Option("--once", help="Ask one question, print the answer, and stop.")
    ] = False,
    json: Json = False,
) -> None:
    """Chat with a small model that is fetched (93 MB), imported, sealed in int8 and served."""
    from ingot.demo.run_chat_demo import run_chat_demo

    report = run_chat_demo(stderr(), out=out, port=port, once=once)
    if json:
        say(True, dataclasses.asdict(report), "")


@app.command(epilog="Example: **ingot lesson --no-input**")
def lesson(
    no_input: Annotated[
        bool, typer.Option("--no-input", help="Show everything without asking questions.")
    ] = False,
    json: Json = False,
) -> None:
    """Teach what training and inference are, by running both (10 minutes)."""
    stopped = partial(
        Interrupted,
        "stopped; nothing was kept",
        where="the lesson",
        fix="it begins again",
    )
    with stoppable(stopped):
        from ingot.lesson.terminal.run_lesson import run_lesson

        record = run_lesson(Console(stderr=json), interactive=not no_input)
    if json:
        sys.stdout.buffer.write(record.to_json() + b"\n")


@app.command(epilog="Example: **ingot compare demo demo.ingot --out phases**")
def compare(
    run: RunFolder,
    ingot: IngotFolder,
    out: Annotated[Path, typer.Option(help="Path of the report, without .html and .png.")] = Path(
        "phases"
    ),
    json: Json = False,
) -> None:
    """Measure training and inference of one model side by side."""
    stopped = partial(
        Interrupted, "stopped; nothing was written", where=out, fix="run the same command again"
    )
    with stoppable(stopped), stderr().status("measuring both phases"):
        from ingot.lesson.report.compare import compare as measure
        from ingot.lesson.report.compare import write_report
        from ingot.lesson.report.tables import phases as table

        measured = measure(run, ingot)
        page, picture = write_report(measured, ingot.absolute().name.removesuffix(".ingot"), out)
    if json:
        say(True, dataclasses.asdict(measured), "")
        return
    Console().print(table(measured))
    say(False, None, f"written to {page} and {picture}")
