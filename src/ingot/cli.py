"""The command line: one function per verb, each a thin skin over ``ingot.api``.

Exit codes: 0 done, 1 a fault of ours, 2 usage, 3 corpus, 4 recipe, 5 training,
6 artifact, 7 serving, 8 resources, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import orjson
import typer
from rich.console import Console

from ingot.errors import IngotError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Train a language model, seal it, serve it.",
    epilog="Start with **ingot demo**. Exit codes: 0 done, 1 a fault of Ingot's, 2 usage, "
    "3 corpus, 4 recipe, 5 training, 6 artifact, 7 serving, 8 resources, 130 interrupted.",
)
data = typer.Typer(no_args_is_help=True, help="Turn raw text into token shards.")
app.add_typer(data, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Texts = Annotated[list[Path], typer.Argument(help="Files or folders of text.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the recipe."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
RunFolder = Annotated[Path, typer.Argument(help="A folder made by ingot train.")]
IngotFolder = Annotated[Path, typer.Argument(help="An ingot.")]
Executor = Annotated[str, typer.Option(help="auto, native, native-int8 or torch.")]
Threads = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Threads that compute; all CPUs by default.")
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Train a language model, seal it, serve it."""
    if debug:
        os.environ["INGOT_DEBUG"] = "1"


@data.command(
    "build",
    epilog="Example: **ingot data build wiki/ code/ --mix wiki=3 --mix code=1 --out corpus**",
)
def data_build(
    texts: Annotated[
        list[Path],
        typer.Argument(
            help="Files or folders; - is stdin, hf:owner/name[:config][:split] a dataset."
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for the corpus.")],
    vocab_size: Annotated[int, typer.Option(min=257, help="Tokens to learn.")] = 4096,
    json_field: Annotated[str, typer.Option(help="Field or column that holds the text.")] = "text",
    stdin_format: Annotated[str, typer.Option(help="What - is: text or jsonl.")] = "text",
    near_duplicates: Annotated[
        float | None,
        typer.Option(min=0.6, max=1, help="Leave out documents at least this like an earlier one."),
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=WEIGHT", help="Weight of one source; give one for each."),
    ] = None,
    json: Json = False,
) -> None:
    """Read texts, learn a tokenizer and write token shards. Run again, a killed build goes on."""
    from ingot.api.phase_one import build_corpus
    from ingot.console import showing
    from ingot.corpus import make_config, parse_mix

    config = make_config(
        vocab_size=vocab_size,
        json_field=json_field,
        stdin_format=stdin_format,
        near_duplicates=near_duplicates,
        mix=parse_mix(mix or []),
    )
    with showing(_stderr()) as (_, watcher):
        corpus = build_corpus(texts, out, config=config, watcher=watcher)
    manifest = corpus.manifest
    _print(json, manifest.model_dump(mode="json"), f"{out}: {manifest.summary()}")


@app.command(epilog="Example: **ingot train my_texts/ --budget 10m --set model.hidden_size=256**")
def train(
    texts: Texts,
    budget: Annotated[str | None, typer.Option(help="Wall time, such as 90s, 10m, 2h.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A recipe file (TOML).")] = None,
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    json: Json = False,
) -> None:
    """Train a model on texts within a budget; everything else is chosen by measuring."""
    from ingot.api import phase_one
    from ingot.console import showing

    with showing(_stderr()) as (_, watcher):
        run = phase_one.train(
            texts,
            out=out,
            budget=budget,
            recipe=recipe,
            settings=settings or [],
            watcher=watcher,
        )
    _finished(run, json)


@app.command(epilog="Example: **ingot resume runs/20261124-120000**")
def resume(run: RunFolder, json: Json = False) -> None:
    """Go on with a run from its last checkpoint."""
    from ingot.api import phase_one
    from ingot.console import showing

    with showing(_stderr()) as (_, watcher):
        finished = phase_one.resume(run, watcher=watcher)
    _finished(finished, json)


@app.command("eval", epilog="Example: **ingot eval demo.ingot README.md**")
def evaluate(
    model: Annotated[Path, typer.Argument(help="A run or an ingot.")],
    texts: Annotated[
        list[Path] | None, typer.Argument(help="Texts to score; a run has its own held-out text.")
    ] = None,
    json: Json = False,
) -> None:
    """Score a run or an ingot: loss, perplexity, bits per byte."""
    from ingot.api import phase_one

    scored = phase_one.evaluate(model, texts or None)
    _print(
        json,
        dataclasses.asdict(scored),
        f"loss {scored.loss:.4f} nats per token, perplexity {scored.perplexity:.2f}, "
        f"{scored.bits_per_byte:.4f} bits per byte over {scored.tokens:,} tokens",
    )


@app.command(epilog="Example: **ingot freeze runs/20261124-120000 --out my.ingot**")
def freeze(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="The ingot to make.")],
    latest: Annotated[bool, typer.Option(help="Seal the latest checkpoint, not the best.")] = False,
    quantize: Annotated[
        str | None, typer.Option(metavar="int8|int4", help="Store matrices in so many bits.")
    ] = None,
    group: Annotated[
        int | None, typer.Option(help="Inputs that share a scale: 32, 64 or 128.")
    ] = None,
    tensor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN=KIND", help="Store matrices of this name as bf16, int8, int4."
        ),
    ] = None,
    calibrate: Annotated[
        bool, typer.Option(help="Quantize by what the model computes on its text (GPTQ).")
    ] = True,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Seal a run's best checkpoint into an ingot."""
    from ingot.api import phase_one
    from ingot.artifact import parse_scheme

    scheme = parse_scheme(quantize, group, tensor or [])
    with phase_one.freeze(
        run, out, overwrite=overwrite, latest=latest, quantize=scheme, calibrated=calibrate
    ) as ingot:
        _print(json, {"ingot": str(out), "digest": ingot.digest}, f"{out}: {ingot.digest}")


@app.command(epilog="Example: **ingot verify demo.ingot --live http://127.0.0.1:8000**")
def verify(
    ingot: IngotFolder,
    live: Annotated[
        str | None, typer.Option(help="Also have the server at this address hash its memory.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="What the server calls the model.")] = None,
    json: Json = False,
) -> None:
    """Check every digest of an ingot; name the first thing that differs."""
    from ingot.artifact import verify as check

    manifest = check(ingot)
    said = f"{ingot}: verified, {len(manifest.tensors)} tensors, digest {manifest.digest}"
    if live is not None:
        from ingot.server.live import verify_live

        name = model or ingot.absolute().name.removesuffix(".ingot")
        verify_live(live, name, manifest, os.environ.get("INGOT_API_KEY"))
        said += f"\n{live}: the same weights answer as {name!r}"
    _print(
        json,
        {"ingot": str(ingot), "digest": manifest.digest, "verified": True, "live": live},
        said,
    )


@app.command(epilog='Example: **ingot generate demo.ingot "def main(" --max-tokens 64**')
def generate(
    ingot: IngotFolder,
    prompt: Annotated[str, typer.Argument(help="Text to continue; - reads stdin.")],
    max_tokens: Annotated[int, typer.Option(help="Most tokens to write.")] = 128,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.8,
    top_p: Annotated[float, typer.Option(help="Share of probability to keep.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Likeliest tokens to keep; 0 keeps all.")] = 0,
    min_p: Annotated[float, typer.Option(help="Least share of the likeliest.")] = 0.0,
    seed: Annotated[int | None, typer.Option(help="Same seed, same answer.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends the answer.")] = None,
    executor: Executor = "auto",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Continue a prompt."""
    from ingot.api.phase_two import load
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
    with load(ingot, executor=executor, engine=engine) as model:  # type: ignore[arg-type]
        if json:
            _print(True, dataclasses.asdict(model.generate(text, **sampling)), "")
            return
        for piece in model.stream(text, **sampling):
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")


@app.command(epilog="Example: **ingot serve demo.ingot --port 8000**")
def serve(
    ingots: Annotated[
        list[str], typer.Argument(help="Ingots, each a folder or NAME=FOLDER.", metavar="INGOT...")
    ],
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Port = 8000,
    api_keys: Annotated[Path | None, typer.Option(help="File of the keys to accept.")] = None,
    allow_public: Annotated[
        bool, typer.Option(help="Bind an address that others can reach, without API keys.")
    ] = False,
    executor: Executor = "auto",
    threads: Threads = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="server.KEY=VALUE or engine.KEY=VALUE."),
    ] = None,
    json: Json = False,
) -> None:
    """Serve ingots with the OpenAI API and a page, until Ctrl-C."""
    from ingot.api import phase_two
    from ingot.server import listen, named_paths, read_settings

    named = named_paths(ingots)
    first = next(iter(named))
    config, engine = read_settings(
        settings or [],
        model_name=first,
        host=host,
        port=port,
        allow_public=allow_public,
        api_keys=api_keys,
        log_requests=True,
    )
    if threads is not None:
        engine = engine.model_copy(update={"threads": threads})
    listener = listen(config)  # a port in use is said before a large model is read
    with contextlib.ExitStack() as opened:
        models = {
            name: opened.enter_context(
                phase_two.load(path, executor=executor, engine=engine)  # type: ignore[arg-type]
            )
            for name, path in named.items()
        }
        model = models.pop(first)
        server = phase_two.serve(
            model,
            config,
            listener=listener,
            further=models,
            executor=executor,  # type: ignore[arg-type]  # load has checked it
            engine=engine,
        )
        announcement = (
            f"serving {', '.join(ingots)} ({model.digest[:12]}) at {server.url}; Ctrl-C stops"
        )
        ready = {"url": server.url, "digest": model.digest}
        server.run(on_ready=lambda: _print(json, ready, announcement))


@app.command(epilog="Example: **ingot demo --budget 60s --once**")
def demo(
    budget: Annotated[str, typer.Option(help="Wall time to train for.")] = "5m",
    folder: Annotated[Path, typer.Option(help="Where the corpus and the run go.")] = Path("demo"),
    out: Annotated[Path, typer.Option(help="The ingot to make.")] = Path("demo.ingot"),
    port: Port = 8000,
    once: Annotated[
        bool, typer.Option("--once", help="Ask one completion through HTTP, check it, and stop.")
    ] = False,
    json: Json = False,
) -> None:
    """Do it all: text to corpus, training, freezing, verifying, serving."""
    from ingot.demo import run_demo

    report = run_demo(_stderr(), budget=budget, folder=folder, out=out, port=port, once=once)
    if json:
        _print(True, dataclasses.asdict(report), "")


@app.command(epilog="Example: **ingot lesson --no-input**")
def lesson(
    no_input: Annotated[
        bool, typer.Option("--no-input", help="Show all of it without asking anything.")
    ] = False,
    json: Json = False,
) -> None:
    """Learn what training and inference are, each claim shown by running it (10 minutes)."""
    from ingot.lesson.terminal import teach

    record = teach(Console(stderr=json), interactive=not no_input)
    if json:
        sys.stdout.buffer.write(record.to_json() + b"\n")


@app.command(epilog="Example: **ingot compare demo demo.ingot --out phases**")
def compare(
    run: RunFolder,
    ingot: IngotFolder,
    out: Annotated[Path, typer.Option(help="Where the table goes too, as .html and .png.")] = Path(
        "phases"
    ),
    json: Json = False,
) -> None:
    """Measure training and inference of one model side by side."""
    from ingot.lesson.compare import compare as measure
    from ingot.lesson.compare import write_report
    from ingot.lesson.tables import phases as table

    measured = measure(run, ingot)
    page, picture = write_report(measured, ingot.absolute().name.removesuffix(".ingot"), out)
    if json:
        _print(True, dataclasses.asdict(measured), "")
        return
    Console().print(table(measured))
    _print(False, None, f"written to {page} and {picture}")


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
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is None:
            hint = "run again with ingot --debug to see where"
            code = _fail(f"internal error: {type(error).__name__}: {error}; {hint}", 1)
        else:
            code = _fail(f"{usage()}; see ingot --help", UsageError.exit_code)
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    if os.environ.get("INGOT_DEBUG"):
        raise  # noqa: PLE0704 (called from within an except clause)
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return code


def _finished(run: Any, json: bool) -> None:
    result = run.result
    _print(
        json,
        {"run": str(run.path), **dataclasses.asdict(result)},
        f"{run.path}: {result.steps:,} updates, held-out loss {result.validation_loss:.4f}, "
        f"{result.bits_per_byte:.4f} bits per byte; "
        f"seal it with: ingot freeze {run.path} --out my.ingot",
    )


def _print(json: bool, data: Any, text: str) -> None:
    if json:
        sys.stdout.buffer.write(orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n")
    else:
        sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _stderr() -> Console:
    return Console(stderr=True)
