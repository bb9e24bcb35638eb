"""The verbs of inference: verify an ingot, generate from it, serve it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingot.cli.options import IngotFolder, Json, Model, Port, note, say
from ingot.cli.replicas import Cluster, Replicas, serve_on_cluster
from ingot.errors import UsageError

if TYPE_CHECKING:
    from ingot.api.inference import Model as LoadedModel

app = typer.Typer()

Executor = Annotated[str, typer.Option(help="auto, native or torch.")]
Weights = Annotated[
    str, typer.Option(help="stored: the ingot's own; bf16, int8 or int4: rounded at loading.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Compute threads; one per CPU by default.")
]


Temperature = Annotated[
    float | None,
    typer.Option(help="Sampling temperature; 0 is greedy; by default the model's own, else 0.8."),
]
TopP = Annotated[
    float | None, typer.Option(help="Sample from the most probable tokens that hold this share.")
]
Seed = Annotated[
    int | None, typer.Option(help="Seed of the sampling: the same seed gives the same text.")
]


def with_defaults(model: LoadedModel, given: dict[str, Any]) -> dict[str, Any]:
    """Return sampling parameters without those not given, and a temperature in any case."""
    chosen = {name: value for name, value in given.items() if value is not None}
    return chosen if "temperature" in model.defaults else {"temperature": 0.8, **chosen}


@app.command(epilog="Example: **ingot verify demo.ingot --live http://127.0.0.1:8000**")
def verify(
    ingot: IngotFolder,
    live: Annotated[
        str | None,
        typer.Option(help="Also have the server at this address hash the weights in its memory."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model on that server.")] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(help="PEM file of a public key that must have signed it; may be repeated."),
    ] = None,
    signature: Annotated[
        Path | None, typer.Option(help="The signature, if it is not INGOT.sig beside the ingot.")
    ] = None,
    json: Json = False,
) -> None:
    """Check every digest of an ingot, and its signature; name the first file that differs."""
    from ingot.api import inference

    manifest = inference.verify(
        ingot,
        live=live,
        model=model,
        key=os.environ.get("INGOT_API_KEY"),
        signed_by=key or (),
        signature=signature,
    )
    said = f"{ingot}: verified, {len(manifest.tensors)} tensors, digest {manifest.digest}"
    if key:
        said += f"\n{ingot}: signed with the key of {' or '.join(map(str, key))}"
    if live is not None:
        said += f"\n{live}: serves the same weights"
    say(
        json,
        {
            "ingot": str(ingot),
            "digest": manifest.digest,
            "verified": True,
            "signed": bool(key),
            "live": live,
        },
        said,
    )


@app.command(epilog='Example: **ingot generate demo.ingot "def main(" --max-tokens 64**')
def generate(
    ingot: Model,
    prompt: Annotated[str, typer.Argument(help="Text to continue; - reads stdin.")],
    max_tokens: Annotated[int, typer.Option(help="Most tokens to generate.")] = 128,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: Annotated[
        int | None, typer.Option(help="Sample from this many of the most probable tokens; 0: all.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Least probability, relative to the most probable token.")
    ] = None,
    seed: Seed = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Text that ends the generation; may be repeated.")
    ] = None,
    chat: Annotated[
        bool | None,
        typer.Option(
            "--chat/--no-chat",
            help="Answer the prompt as a message, through the chat template, or continue it as "
            "text; by default as the model was trained.",
        ),
    ] = None,
    executor: Executor = "auto",
    weights: Weights = "stored",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Continue a prompt, or answer it if the model was trained on conversations."""
    from ingot.api.inference import load
    from ingot.api.sources import as_ingot
    from ingot.inference import EngineConfig

    text = sys.stdin.read() if prompt == "-" else prompt
    sampling: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "seed": seed,
        "stop": tuple(stop or ()),
    }
    engine = EngineConfig(threads=threads)
    with load(  # it checks executor and weights
        as_ingot(ingot, note),
        executor=executor,  # type: ignore[arg-type]
        weights=weights,  # type: ignore[arg-type]
        engine=engine,
    ) as model:
        sampling = with_defaults(model, sampling)
        answers = model.knows_conversations if chat is None else chat
        message = [{"role": "user", "content": text}]
        if json:
            result = (
                model.chat(message, **sampling) if answers else model.generate(text, **sampling)
            )
            say(True, dataclasses.asdict(result), "")
            return
        pieces = (
            model.stream_chat(message, **sampling) if answers else model.stream(text, **sampling)
        )
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")


@app.command(epilog="Example: **ingot serve demo.ingot --port 8000**")
def serve(
    ingots: Annotated[
        list[str],
        typer.Argument(
            help="Ingots, or what ingot import takes; NAME=FOLDER names the model.",
            metavar="INGOT...",
        ),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Port = 8000,
    api_keys: Annotated[
        Path | None, typer.Option(help="TOML file of accepted API keys; see ingot new-key.")
    ] = None,
    uds: Annotated[Path | None, typer.Option(help="Unix socket to listen on instead.")] = None,
    root_path: Annotated[
        str, typer.Option(help="Path under which a proxy offers the server, such as /ingot.")
    ] = "",
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file of a certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
    allow_public: Annotated[
        bool, typer.Option(help="Allow an address that others can reach without API keys.")
    ] = False,
    open_admin: Annotated[
        bool,
        typer.Option(help="Let everyone list and cancel all requests of a public server."),
    ] = False,
    require_signature: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PUBLIC.pem",
            help="Load only ingots signed with this key; may be repeated for one of several.",
        ),
    ] = None,
    idle_unload: Annotated[
        str | None,
        typer.Option(
            help="Release a model's memory after so long without a request, such as 10m; the next "
            "one waits while it is loaded."
        ),
    ] = None,
    batches: Annotated[
        Path | None,
        typer.Option(help="Folder for uploaded files and batches; without it there are none."),
    ] = None,
    price: Annotated[
        str, typer.Option(help="Price of the machine or of its energy: 0.40EUR/h, or 0.30EUR/kWh.")
    ] = "",
    watts: Annotated[
        float | None, typer.Option(help="Power of the machine, where it cannot be measured.")
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[MODEL:]ttft=1s,itl=50ms",
            help="Latency to keep: longest time to the first token, and between tokens.",
        ),
    ] = None,
    cluster: Cluster = None,
    replicas: Replicas = None,
    executor: Executor = "auto",
    weights: Weights = "stored",
    threads: Threads = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a setting of the server or the engine; see ingot settings.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Serve ingots through the OpenAI API and a web page, until Ctrl-C."""
    from ingot.api import inference
    from ingot.api.sources import as_ingot
    from ingot.costs import read_price
    from ingot.durations import parse_seconds
    from ingot.server import listen, named_objectives, named_paths, read_settings

    named = named_paths(ingots)
    first = next(iter(named))
    read = read_settings(
        settings or [],
        (read_price(price) if price else {}) | ({} if watts is None else {"watts": watts}),
        model_name=first,
        host=host,
        port=port,
        uds=uds,
        root_path=root_path,
        tls_cert=tls_cert,
        tls_key=tls_key,
        allow_public=allow_public,
        open_admin=open_admin,
        api_keys=api_keys,
        idle_unload_s=None if idle_unload is None else parse_seconds(idle_unload, "--idle-unload"),
        batches=batches,
        log_requests=True,
        **named_objectives(objective or [], named),
    )
    config, engine = read.server, read.engine
    if threads is not None:
        engine = engine.model_copy(update={"threads": threads})
    if cluster is not None:
        serve_on_cluster(
            cluster,
            replicas or "1",
            named,
            read.model_copy(update={"engine": engine}),
            executor=executor,
            weights=weights,
            signed_by=require_signature or (),
            json=json,
        )
        return
    if replicas is not None:
        raise UsageError("needs --cluster", where="--replicas", fix="say which cluster, or: local")
    listener = listen(config)  # a port in use is reported before a large model is read
    with contextlib.ExitStack() as opened:
        models = {
            name: opened.enter_context(
                inference.load(  # it checks executor and weights
                    path if require_signature else as_ingot(path, note),
                    executor=executor,  # type: ignore[arg-type]
                    weights=weights,  # type: ignore[arg-type]
                    engine=engine,
                    signed_by=require_signature or (),
                    objectives=config.objective_for(name) is not None,
                )
            )
            for name, path in named.items()
        }
        for name, loaded in models.items():
            stated = config.objective_for(name)
            if stated is not None and (why := inference.unmet(loaded, stated)):
                note(f"warning: {name}: {why}")
        model = models.pop(first)
        server = inference.serve(
            model,
            config,
            listener=listener,
            further=models,
            executor=executor,  # type: ignore[arg-type]
            weights=weights,  # type: ignore[arg-type]
            engine=engine,
            signed_by=require_signature or (),
            cost=read.cost,
            kv_events=read.kv_events,
        )
        announcement = (
            f"serving {', '.join(ingots)} ({model.digest[:12]}) at {server.url}; Ctrl-C stops"
        )
        ready = {"url": server.url, "digest": model.digest}
        server.run(on_ready=lambda: say(json, ready, announcement))


@app.command("new-key", epilog="Example: **ingot new-key alice >> keys.toml**")
def new_key(
    name: Annotated[str, typer.Argument(help="Who the key is for; shown in logs and metrics.")],
) -> None:
    """Make an API key: the key once on stderr, its entry for the file of keys on stdout."""
    from ingot.server.access.api_keys import make_key

    key, entry = make_key(name)
    sys.stderr.write(f"{key}\n")
    sys.stdout.write(entry)
