"""The verbs of training: text to corpus, corpus to run, run to ingot."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ingot.cli.options import Json, Overwrite, RunFolder, note, say, stderr
from ingot.cli.together import Cluster, Nodes, Rendezvous, Together, WorkerCount
from ingot.errors import Interrupted, UsageError
from ingot.interruption import stoppable

if TYPE_CHECKING:
    from ingot.api.training import Callbacks
    from ingot.console import ConsoleReporter

app = typer.Typer()
data = typer.Typer(no_args_is_help=True, help="Turn raw text into token shards.")
app.add_typer(data, name="data")

Watch = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        metavar="PORT",
        help="Serve a page of the run on this port; 0: any free port.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one setting; see ingot settings."),
]


@data.command(
    "build",
    epilog="Example: **ingot data build wiki/ code/ --mix wiki=3 --mix code=1 --out corpus**",
)
def data_build(
    texts: Annotated[
        list[Path],
        typer.Argument(
            help="Files or folders; - is stdin; hf:owner/name[:config][:split] is a dataset."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    vocab_size: Annotated[int, typer.Option(min=257, help="Size of the vocabulary.")] = 4096,
    json_field: Annotated[
        str, typer.Option(help="JSONL field or Parquet column of the text.")
    ] = "text",
    stdin_format: Annotated[str, typer.Option(help="Format of stdin: text or jsonl.")] = "text",
    near_duplicates: Annotated[
        float | None,
        typer.Option(min=0.6, max=1, help="Leave out documents this similar to an earlier one."),
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=WEIGHT", help="Sampling weight of one source; one for each."),
    ] = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Read texts, train a tokenizer and write token shards; a killed build can be run again."""
    from ingot.api.training import build_corpus
    from ingot.console import report_to
    from ingot.corpus import corpus_settings, make_config, parse_mix, stopped_build

    options = {
        "vocab_size": vocab_size,
        "json_field": json_field,
        "stdin_format": stdin_format,
        "near_duplicates": near_duplicates,
        "mix": parse_mix(mix or []),
    }
    config = make_config(**(options | corpus_settings(settings or [])))

    with report_to(stderr(), partial(stopped_build, out)) as (_, callbacks):
        corpus = build_corpus(texts, out, config=config, callbacks=callbacks)
    manifest = corpus.manifest
    lines = [*manifest.left_out(), *manifest.notes(), f"{out}: {manifest.summary()}"]
    say(json, manifest.model_dump(mode="json"), "\n".join(lines))


@app.command(
    epilog="Example: **ingot train my_texts/ --budget 10m --set model.hidden_size=256**; "
    "**ingot train talks.jsonl --from my.ingot --task chat**; "
    "**torchrun --nproc-per-node 2 -m ingot train my_texts/**"
)
def train(
    texts: Annotated[
        list[Path],
        typer.Argument(help="Files or folders of text, a corpus, or JSONL for chat or preference."),
    ],
    budget: Annotated[str | None, typer.Option(help="Wall time, such as 90s, 10m, 2h.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A recipe file (TOML).")] = None,
    settings: Settings = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Ingot to fine-tune, or what ingot import takes."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="text|chat|preference", help="Objective of the training.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; runs/DATE-TIME by default.")
    ] = None,
    nodes: Nodes = None,
    rendezvous: Rendezvous = None,
    cluster: Cluster = None,
    workers: WorkerCount = None,
    watch: Watch = None,
    json: Json = False,
) -> None:
    """Train a model within a time budget; everything else is chosen by measuring the machine."""
    from ingot.api import training
    from ingot.api.sources import as_ingot
    from ingot.console import report_to

    out = out or training.new_folder()
    if start is not None:
        start = as_ingot(start, note)
    together = Together(nodes, rendezvous, watch, cluster, workers)
    if together.asked:
        run = together.train(
            texts,
            out,
            budget=budget,
            recipe=recipe,
            settings=tuple(settings or ()),
            start=start,
            task=task,
        )
        _finished(run, json)
        return
    with (
        report_to(stderr(), partial(training.stopped_run, out)) as (reporter, callbacks),
        _watched(reporter, out, callbacks, watch),
    ):
        run = training.train(
            texts,
            out=out,
            budget=budget,
            recipe=recipe,
            settings=settings or [],
            start=start,
            task=task,  # type: ignore[arg-type]  # the recipe checks it
            callbacks=callbacks,
        )
    _finished(run, json)


@app.command(epilog="Example: **ingot resume runs/20261124-120000**")
def resume(
    run: RunFolder,
    settings: Settings = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Resume although the recipe has changed.")
    ] = False,
    nodes: Nodes = None,
    rendezvous: Rendezvous = None,
    cluster: Cluster = None,
    workers: WorkerCount = None,
    watch: Watch = None,
    json: Json = False,
) -> None:
    """Resume a run from its last checkpoint."""
    from ingot.api import training
    from ingot.console import report_to

    together = Together(nodes, rendezvous, watch, cluster, workers)
    if together.asked:
        given = {"settings": tuple(settings or ()), "accept_changes": accept_changes}
        _finished(together.train([], run, **given), json)
        return
    with (
        report_to(stderr(), partial(training.stopped_run, run)) as (reporter, callbacks),
        _watched(reporter, run, callbacks, watch),
    ):
        finished = training.resume(
            run, settings=settings or [], accept_changes=accept_changes, callbacks=callbacks
        )
    _finished(finished, json)


@app.command("eval", epilog="Example: **ingot eval demo.ingot README.md**")
def evaluate(
    model: Annotated[Path, typer.Argument(help="A run or an ingot.")],
    texts: Annotated[
        list[Path] | None,
        typer.Argument(help="Texts to score; by default the held-out text of a run."),
    ] = None,
    choices: Annotated[
        Path | None, typer.Option(help="JSONL of multiple-choice questions, instead of texts.")
    ] = None,
    json: Json = False,
) -> None:
    """Score a run or an ingot: loss, perplexity, bits per byte; or multiple-choice questions."""
    from ingot.api import training

    if choices is not None:
        if texts:
            raise UsageError(
                "cannot be combined with texts", where="--choices", fix="give one of the two"
            )
        with stoppable(_stopped), stderr().status("answering questions"):
            answered = training.evaluate_choices(model, choices)
        say(
            json,
            dataclasses.asdict(answered),
            f"accuracy {answered.accuracy:.3f} ± {answered.standard_error:.3f}, by bytes "
            f"{answered.normalised_accuracy:.3f} ± {answered.normalised_standard_error:.3f}, "
            f"guessing {answered.chance:.3f}, over {answered.questions:,} questions",
        )
        return
    with stoppable(_stopped), stderr().status("scoring text"):
        scored = training.evaluate(model, texts or None)
    for line in scored.left_out:
        stderr().print(line, markup=False, highlight=False)
    say(
        json,
        dataclasses.asdict(scored),
        f"loss {scored.loss:.4f} nats per token, perplexity {scored.perplexity:.2f}, "
        f"{scored.bits_per_byte:.4f} bits per byte over {scored.tokens:,} tokens",
    )


@app.command(epilog="Example: **ingot freeze runs/20261124-120000 --out my.ingot**")
def freeze(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="The ingot to make.")],
    latest: Annotated[
        bool, typer.Option(help="Seal the latest checkpoint instead of the best.")
    ] = False,
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
    calibrate: Annotated[
        bool, typer.Option(help="Calibrate on the training text (GPTQ) instead of rounding.")
    ] = True,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Seal a run's best checkpoint into an ingot."""
    from ingot.api import training
    from ingot.artifact import parse_scheme

    scheme = parse_scheme(quantize, group, tensor or [])
    with stoppable(partial(_stopped, out)):
        ingot = training.freeze(
            run, out, overwrite=overwrite, latest=latest, quantize=scheme, calibrated=calibrate
        )
    with ingot:
        say(json, {"ingot": str(out), "digest": ingot.digest}, f"{out}: {ingot.digest}")


@app.command(epilog="Example: **ingot adapter runs/20261124-120000 --out my-adapter**")
def adapter(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="Folder to write, in PEFT's layout.")],
    latest: Annotated[
        bool, typer.Option(help="Take the latest checkpoint instead of the best.")
    ] = False,
) -> None:
    """Write the LoRA adapter of a run, without its base model."""
    from ingot.api import training

    with stoppable(partial(_stopped, out)):
        training.adapter(run, out, latest=latest)
    say(False, None, f"{out}: the adapter of {run}")


@app.command(epilog="Example: **ingot runs runs/ --plot compared.png**")
def runs(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Runs, or folders of runs; runs/ by default.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also plot their losses, as .png and .html.")
    ] = None,
    json: Json = False,
) -> None:
    """List runs and compare them."""
    from ingot.cli.runs_table import runs_table
    from ingot.training.monitoring.runs import find_runs, read_curves, summarise

    found = find_runs(folders or [Path("runs")])
    rows = [summarise(path) for path in found]
    if plot is not None:
        from ingot.training.monitoring.run_plot import write_plot

        written = write_plot([read_curves(path) for path in found], rows, plot)
        stderr().print(f"written to {' and '.join(map(str, written))}", markup=False)
    if json:
        say(True, [dataclasses.asdict(row) for row in rows], "")
    else:
        console = Console()
        console.print(runs_table(rows, console.width))


@contextlib.contextmanager
def _watched(
    reporter: ConsoleReporter, run: Path, callbacks: Callbacks, port: int | None
) -> Iterator[None]:
    """Serve the page of a run inside the block, if a port is given."""
    if port is None:
        yield
        return
    from ingot.api.watch import watch

    with watch(run, callbacks, port=port) as page:
        reporter.say(f"watch it at {page.url}/#train")
        yield


def _stopped(out: Path | None = None) -> Interrupted:
    return Interrupted("stopped; nothing was written", where=out, fix="run the same command again")


def _scored(run: Any) -> str:
    """Return what the last evaluation was on."""
    task = run.recipe.task
    return "training-set" if task.kind != "text" and task.held_out == 0 else "held-out"


def _finished(run: Any, json: bool) -> None:
    result = run.result
    cost = run.recipe.cost.told(result.seconds)
    say(
        json,
        {"run": str(run.path), **dataclasses.asdict(result)},
        f"{run.path}: {result.told()}, {_scored(run)} loss {result.validation_loss:.4f}"
        + (f", {result.bits_per_byte:.4f} bits per byte; " if result.bits_per_byte else "; ")
        + (f"{cost}; " if cost else "")
        + f"seal it with: ingot freeze {run.path} --out my.ingot",
    )
