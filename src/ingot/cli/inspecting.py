"""The verbs that look at an ingot or vouch for it, without running it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ingot.cli.options import IngotFolder, Json, say, stderr

app = typer.Typer()


@app.command(epilog="Example: **ingot inspect my.ingot --html my.html**")
def inspect(
    ingot: IngotFolder,
    weights: Annotated[
        bool, typer.Option("--weights", help="Read every weight, and describe each layer's.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Also write a model card with charts to this file.")
    ] = None,
    bom: Annotated[
        Path | None,
        typer.Option(help="Also write a bill of materials to this file (CycloneDX 1.7, JSON)."),
    ] = None,
    json: Json = False,
) -> None:
    """Show what an ingot holds: sizes, number formats, tokenizer, provenance, files."""
    from ingot.api import ingots
    from ingot.cli.ingot_tables import summary_tables

    with _progress(f"reading {ingot.name}") as progress:
        found = ingots.inspect(ingot, weights=weights or html is not None, progress=progress)
    if html is not None:
        ingots.write_model_card(found, html)
        stderr().print(f"written to {html}", markup=False)
    if bom is not None:
        ingots.write_bill_of_materials(ingot, bom)
        stderr().print(f"written to {bom}", markup=False)
    if json:
        say(True, _as_json(found), "")
    else:
        Console(highlight=False).print(
            summary_tables(found.summary, found.weights if weights else None)
        )


@app.command(epilog="Example: **ingot diff before.ingot after.ingot**")
def diff(
    a: IngotFolder,
    b: Annotated[Path, typer.Argument(help="Another ingot.")],
    json: Json = False,
) -> None:
    """Compare two ingots: config, tokenizer, provenance, and the distance of each tensor."""
    from ingot.api import ingots
    from ingot.cli.ingot_tables import difference_tables

    with _progress("comparing") as progress:
        found = ingots.diff(a, b, progress=progress)
    if json:
        say(True, dataclasses.asdict(found), "")
    else:
        Console(highlight=False).print(difference_tables(found))


@app.command(epilog="Example: **ingot sign my.ingot --key private.pem**")
def sign(
    ingot: IngotFolder,
    key: Annotated[Path, typer.Option(help="PEM file of an elliptic-curve private key.")],
    signature: Annotated[
        Path | None, typer.Option(help="File to write; INGOT.sig beside the ingot by default.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing signature.")] = False,
    json: Json = False,
) -> None:
    """Sign an ingot, so that others can check who made it (OpenSSF Model Signing)."""
    from ingot.api import ingots

    written = ingots.sign(ingot, key, signature=signature, overwrite=overwrite)
    say(
        json,
        {"ingot": str(ingot), "signature": str(written)},
        f"{written}: the signature of {ingot}",
    )


def _as_json(found: Any) -> dict[str, Any]:
    """Return an inspection as JSON; the layers' distributions are left out, not their figures."""
    summary = dataclasses.asdict(found.summary)
    if found.weights is None:
        return summary
    names = [field.name for field in dataclasses.fields(found.weights.layers[0])]
    names.remove("distribution")
    return summary | {
        "tensors": [dataclasses.asdict(each) for each in found.weights.tensors],
        "layers": [{name: getattr(each, name) for name in names} for each in found.weights.layers],
    }


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal while weights are read; it is gone afterwards."""
    from rich.progress import Progress

    console = stderr()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=None, visible=False)
        yield lambda done, total: bars.update(task, completed=done, total=total, visible=True)
