"""The verb that takes an ingot to other engines."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingot.cli.options import IngotFolder, Json, say, stderr
from ingot.errors import Interrupted
from ingot.interruption import stoppable

if TYPE_CHECKING:
    from ingot.api.exporting import ExportResult

app = typer.Typer()


@app.command(
    epilog="Example: **ingot export demo.ingot --to gguf --type q8_0 --out demo.gguf**; "
    "**ingot export demo.ingot --to hf --out demo-hf**"
)
def export(
    ingot: IngotFolder,
    to: Annotated[
        str,
        typer.Option(
            metavar="hf|gguf|compressed-tensors|modelfile",
            help="hf: transformers, vLLM, SGLang; gguf: llama.cpp; compressed-tensors: int8 and "
            "int4 for vLLM; modelfile: ollama.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make; with --to gguf the file.")],
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="bfloat16|float16|float32",
            help="hf, compressed-tensors: number format of what is not quantized.",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="f32|f16|bf16|q8_0|q4_0|q4_k",
            help="gguf, modelfile: number format of the matrices; by default the ingot's.",
        ),
    ] = None,
    shard_bytes: Annotated[
        int | None, typer.Option(help="hf, compressed-tensors: largest file of weights.")
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(
            help="compressed-tensors: text on which the cost of rounding int8 again is measured; "
            "may be repeated."
        ),
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="modelfile: system message where there is none.")
    ] = None,
    license_file: Annotated[
        Path | None, typer.Option("--license", help="modelfile: file with the licence.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export of this kind.")
    ] = False,
    json: Json = False,
) -> None:
    """Write an ingot in another engine's format."""
    from ingot.api import exporting

    options = exporting.ExportOptions(  # which are checked together with the target
        dtype=dtype,  # type: ignore[arg-type]
        type=kind,  # type: ignore[arg-type]
        shard_bytes=shard_bytes,
        texts=tuple(text or ()),
        system=system,
        license=license_file,
    )
    with stoppable(partial(_stopped, out)), _bar(f"exporting to {to}") as progress:
        made = exporting.export(
            ingot,
            out,
            to=to,  # type: ignore[arg-type]
            options=options,
            overwrite=overwrite,
            progress=progress,
        )
    say(json, {**dataclasses.asdict(made), "path": str(made.path)}, _told(made))


def _told(made: ExportResult) -> str:
    """Return what was written, and what differs from the ingot."""
    lines = [f"{made.path}: {made.kind}, {made.bytes / 1e6:,.1f} MB of weights", *made.notes]
    if made.cost is not None:
        cost = made.cost
        lines.append(
            f"{cost.bits_per_byte:.4f} bits per byte where the ingot has {cost.before:.4f} "
            f"({cost.bits_per_byte / cost.before - 1:+.2%}) on {cost.bytes:,} bytes of text"
        )
    elif made.kind == "W8A8":
        lines.append("What that costs is measured with --text FILE.")
    return "\n".join(lines)


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar inside the block, on a terminal alone."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = stderr()
    columns: list[Any] = [TextColumn(what), BarColumn(), TextColumn("{task.percentage:>3.0f}%")]
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bars:
        task = bars.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        yield show


def _stopped(out: Path) -> Interrupted:
    return Interrupted("stopped; nothing was written", where=out, fix="run the same command again")
