"""The verb ``import``: a model of another program becomes an ingot."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ingot.cli.options import Json, Overwrite, say, stderr
from ingot.errors import Interrupted, UsageError
from ingot.interruption import stoppable

app = typer.Typer()


@app.command("import", epilog="Example: **ingot import hf:Qwen/Qwen3-0.6B --out qwen.ingot**")
def import_(
    source: Annotated[
        str,
        typer.Argument(help="A Hugging Face folder, a .gguf file, or hf:ORG/NAME[@REVISION]."),
    ],
    out: Annotated[Path, typer.Option(help="The ingot to make.")],
    dtype: Annotated[
        str, typer.Option(metavar="bfloat16|float32", help="Number format to store.")
    ] = "bfloat16",
    quantize: Annotated[
        str | None, typer.Option(metavar="int8|int4", help="Quantize the matrices.")
    ] = None,
    group: Annotated[
        int | None, typer.Option(help="Weights that share a scale: 32, 64 or 128.")
    ] = None,
    tensor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN=KIND", help="Store matrices with this name as bf16, int8 or int4."
        ),
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Merge this PEFT adapter; a folder, or hf:ORG/NAME."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make an ingot of a model of another program: Llama, Qwen, Gemma and more."""
    from ingot.api import importing
    from ingot.artifact import parse_scheme

    if dtype not in ("bfloat16", "float32"):
        raise UsageError(
            f"{dtype!r} is not a number format", where="--dtype", fix="use bfloat16 or float32"
        )
    scheme = parse_scheme(quantize, group, tensor or [])
    stopped = partial(
        Interrupted, "stopped; nothing was written", where=out, fix="run the same command again"
    )
    with stoppable(stopped), stderr().status(f"importing {source}"):
        ingot = importing.import_model(
            source,
            out,
            dtype=dtype,  # type: ignore[arg-type]
            quantize=scheme,
            adapter=adapter,
            overwrite=overwrite,
        )
    with ingot:
        origin = ingot.manifest.provenance.origin
        family = origin.family if origin is not None else None
        say(
            json,
            {
                "ingot": str(out),
                "digest": ingot.digest,
                "family": family,
                "parameters": ingot.config.parameters,
            },
            f"{out}: {ingot.digest} ({family}, {ingot.config.parameters:,} parameters)",
        )
