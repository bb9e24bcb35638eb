"""The command line: one function per verb, each a thin layer over ``ingot.api``.

Exit codes: 0 done, 1 internal error, 2 usage, 3 corpus, 4 recipe, 5 training,
6 artifact, 7 serving, 8 resources, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import re
import sys
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer

from ingot.cli import (
    capacity,
    chat,
    exporting,
    importing,
    inference,
    inspecting,
    lesson,
    settings,
    sweeping,
    training,
)
from ingot.errors import IngotError, Interrupted, UsageError
from ingot.interruption import stoppable
from ingot.process import collect_rarely

_EXTRAS = {
    **dict.fromkeys(("matplotlib", "PIL", "pyarrow", "tensorboard", "torch", "zstandard"), "train"),
    "ray": "cluster",
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Train a language model, seal it, serve it.",
    epilog="Start with **ingot demo**. Exit codes: 0 done, 1 internal error, 2 usage, "
    "3 corpus, 4 recipe, 5 training, 6 artifact, 7 serving, 8 resources, 130 interrupted.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ingot {version('ingot')}")
        raise typer.Exit


for verbs in (
    importing,
    training,
    sweeping,
    inference,
    capacity,
    chat,
    exporting,
    inspecting,
    lesson,
    settings,
):
    app.add_typer(verbs.app)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Train a language model, seal it, serve it."""
    if debug:
        os.environ["INGOT_DEBUG"] = "1"


def main() -> NoReturn:
    """Run the command line; an error becomes one line on stderr and an exit code."""
    collect_rarely()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not an internal error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        # For all that a verb does outside blocks of its own, such as importing PyTorch.
        with stoppable(partial(Interrupted, "stopped")):
            code = app(standalone_mode=False) or 0  # a verb returns nothing, typer.Exit its code
            if code == Interrupted.exit_code:  # what typer makes of KeyboardInterrupt
                raise KeyboardInterrupt
    except IngotError as error:
        code = _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted", 130)
    except typer.Exit as error:
        code = error.exit_code
    except ModuleNotFoundError as error:
        code = _fail(*_missing(error))
    except Exception as error:
        if hasattr(error, "format_message"):  # of a command line that cannot be parsed
            message = _usage(error)
            code = _fail(message, UsageError.exit_code) if message else UsageError.exit_code
        else:
            hint = "run again with ingot --debug to see where"
            code = _fail(f"internal error: {type(error).__name__}: {error}; {hint}", 1)
    sys.exit(code)


def _usage(error: Any) -> str:
    """Return what is wrong with a command line and a command that is right.

    Empty if the verb was missing, where the help has been printed instead.
    """
    message = error.format_message().strip().rstrip(".")
    context = error.ctx
    if not message or context is None:
        return str(message)
    examples = re.findall(r"\*\*(.+?)\*\*", context.command.epilog or "")
    # A group's epilog names a verb to start with, which is not what was meant.
    if examples and context.parent is not None:
        fix = f"for example: {examples[0]}"
    else:
        fix = f"see {context.command_path} --help"
    return f"{message[:1].lower()}{message[1:]}; {fix}"


def _missing(error: ModuleNotFoundError) -> tuple[str, int]:
    package = (error.name or "").partition(".")[0]
    if package in _EXTRAS:
        fix = f"pip install 'ingot[{_EXTRAS[package]}]'"
        return (
            f"this needs {package}, which is not installed; install it with: {fix}",
            UsageError.exit_code,
        )
    return f"internal error: {error}; install Ingot again", 1


def _fail(message: str, code: int) -> int:
    if os.environ.get("INGOT_DEBUG"):
        raise  # noqa: PLE0704 (called from within an except clause)
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return code
