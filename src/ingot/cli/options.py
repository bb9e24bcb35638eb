"""Arguments that several verbs share, and the printing of results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from ingot.errors import printable

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing ingot.")]
RunFolder = Annotated[Path, typer.Argument(help="A folder made by ingot train.")]
IngotFolder = Annotated[Path, typer.Argument(help="An ingot.")]
Model = Annotated[
    Path,
    typer.Argument(help="An ingot; or what ingot import takes, which is imported first."),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]


def say(json: bool, data: Any, text: str) -> None:
    """Print a result: the data if ``json`` is set, otherwise the text."""
    if json:
        sys.stdout.buffer.write(orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n")
    else:
        sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Print a line on standard error: what is done beside what was asked for."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def stderr() -> Console:
    """Return a console on standard error, for progress."""
    return Console(stderr=True)
