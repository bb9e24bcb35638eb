"""The command line: one function per verb, each a thin layer over ``ingot.api``.

Exit codes: 0 done, 1 internal error, 2 usage, 3 corpus, 4 recipe, 5 training,
6 artifact, 7 serving, 8 resources, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from ingot.cli import inference, lesson, settings, training
from ingot.errors import IngotError, UsageError

_OF_TRAINING = {"matplotlib", "PIL", "pyarrow", "tensorboard", "torch", "zstandard"}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Train a language model, seal it, serve it.",
    epilog="Start with **ingot demo**. Exit codes: 0 done, 1 internal error, 2 usage, "
    "3 corpus, 4 recipe, 5 training, 6 artifact, 7 serving, 8 resources, 130 interrupted.",
)
for verbs in (training, inference, lesson, settings):
    app.add_typer(verbs.app)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Train a language model, seal it, serve it."""
    if debug:
        os.environ["INGOT_DEBUG"] = "1"


def main() -> NoReturn:
    """Run the command line; every error becomes one line on stderr and an exit code."""
    try:
        app(standalone_mode=False)
        code = 0
    except IngotError as error:
        code = _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted", 130)
    except typer.Exit as error:
        code = error.exit_code
    except ModuleNotFoundError as error:
        code = _fail(*_missing(error))
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is None:
            hint = "run again with ingot --debug to see where"
            code = _fail(f"internal error: {type(error).__name__}: {error}; {hint}", 1)
        else:
            code = _fail(f"{usage()}; see ingot --help", UsageError.exit_code)
    sys.exit(code)


def _missing(error: ModuleNotFoundError) -> tuple[str, int]:
    package = (error.name or "").partition(".")[0]
    if package in _OF_TRAINING:
        fix = "pip install 'ingot[train]'"
        return f"this needs {package}, which is not installed; {fix}", UsageError.exit_code
    return f"internal error: {error}; install Ingot again", 1


def _fail(message: str, code: int) -> int:
    if os.environ.get("INGOT_DEBUG"):
        raise  # noqa: PLE0704 (called from within an except clause)
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return code
