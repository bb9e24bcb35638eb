"""The verbs that look at an ingot or vouch for it, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ingot.cli.options import IngotFolder, Json, say

app = typer.Typer()


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
