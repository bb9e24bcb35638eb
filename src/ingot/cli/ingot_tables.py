"""Tables for the terminal: what an ingot holds, and how two of them differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ingot.artifact.inspection.difference import Change, Difference, TensorDistance
from ingot.artifact.inspection.parts import kind_of
from ingot.artifact.inspection.statistics import WeightStatistics
from ingot.artifact.inspection.summary import Summary
from ingot.artifact.inspection.words import flat, readable, size
from ingot.errors import printable

_LONGEST = 60  # characters of a value; the whole one is in the JSON
_MOST_TENSORS = 12
_MOST_CHANGES = 30
_LONG = ("recipe", "training_curve", "validation_curve")


def summary_tables(summary: Summary, weights: WeightStatistics | None) -> RenderableType:
    """Return everything that ``ingot inspect`` shows."""
    shown: list[RenderableType] = [_heading(summary), _parts(summary)]
    if weights is not None:
        shown.append(_weights(weights))
    shown += [
        _fields("model", summary.settings),
        _fields("provenance", _origin(summary.provenance)),
        _files(summary),
    ]
    return Group(*_spaced(shown))


def difference_tables(difference: Difference) -> RenderableType:
    """Return everything that ``ingot diff`` shows."""
    head = Text()
    for name, path, digest, nbytes in (
        ("a", difference.a, difference.digest_a, difference.bytes_a),
        ("b", difference.b, difference.digest_b, difference.bytes_b),
    ):
        head.append(f"{name}  ", style="dim")
        head.append(f"{_text(path)}  {digest[:12]}  {size(nbytes)} of weights\n")
    if difference.identical:
        head.append("identical: the digests are the same")
        return head
    shown: list[RenderableType] = [head]
    shown += [
        _change_table(title, changes)
        for title, changes in (
            ("config", difference.config),
            ("format", _by_kind(difference.format)),
            ("provenance", difference.provenance),
            ("tensors in one, or of other shapes", difference.other_shapes),
        )
        if changes
    ]
    shown += [_tokenizers(difference), _distances(difference.tensors)]
    return Group(*_spaced(shown))


def _spaced(parts: Sequence[RenderableType]) -> Iterable[RenderableType]:
    for at, part in enumerate(parts):
        if at:
            yield Text()
        yield part


def _text(value: object) -> Text:
    """Return a value on one short line, without markup or control characters."""
    text = printable(str(value))
    return Text(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def _heading(summary: Summary) -> Text:
    stored = f"{summary.bits_per_weight:.2f} bits per weight"
    if summary.method:
        stored += f", quantized ({summary.method})"
    text = Text(printable(summary.path), style="bold")
    text.append(
        f"\n{summary.parameters:,} parameters, {size(summary.folder_bytes)}, {stored}\n", "not bold"
    )
    text.append(f"digest     {summary.digest}\n", style="not bold dim")
    text.append(f"signature  {_signature(summary)}", style="not bold dim")
    return text


def _signature(summary: Summary) -> str:
    signature = summary.signature
    if signature is None:
        return "none beside it"
    if signature.problem:
        return printable(f"{signature.path}: {signature.problem}")
    key = f", key {_text(signature.key[:12])}" if signature.key else ""
    return printable(f"{signature.path}{key}, not checked: ingot verify --key")


def _table(title: str, *columns: str, numbers: Sequence[str] = ()) -> Table:
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        header_style="dim",
        title=title,
        title_style="bold",
        title_justify="left",
    )
    for at, column in enumerate(columns):
        right = column in numbers
        table.add_column(
            column,
            justify="right" if right else "left",
            overflow="ellipsis" if right else "fold",  # part of a number would be another
            no_wrap=right or (at == 0 and bool(numbers)),
        )
    return table


def _parts(summary: Summary) -> Table:
    numbers = ("parameters", "size", "bits/weight")
    table = _table("parts", "", "stored as", *numbers, numbers=numbers)
    for part in summary.parts:
        table.add_row(
            part.part,
            ", ".join(part.formats),
            f"{part.parameters:,}",
            size(part.nbytes),
            f"{part.bits_per_weight:.2f}",
        )
    return table


def _weights(weights: WeightStatistics) -> Table:
    numbers = ("layer", "rms", "least", "1%", "99%", "most", "outliers")
    table = _table("weights", "", *numbers, numbers=numbers)
    for each in weights.layers:
        low, high = each.quantiles[0], each.quantiles[-1]
        values = (each.rms, each.minimum, low, high, each.maximum)
        table.add_row(
            each.part,
            "" if each.layer is None else str(each.layer),
            *(f"{value:.3g}" for value in values),
            f"{each.outliers:.2g}",
        )
    table.caption = "outliers: share of values beyond six times the RMS"
    table.caption_justify = "left"
    return table


def _fields(title: str, fields: Sequence[tuple[str, Any]]) -> Table:
    """Return the fields that have a value."""
    table = _table(title, "field", "value")
    table.show_header = False
    for name, value in fields:
        if value not in (None, [], ()):
            table.add_row(Text(printable(name), style="dim"), _text(readable(value)))
    return table


def _origin(provenance: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return where the model came from; of its recipe and source files only how much there is."""
    rest = {name: value for name, value in provenance.items() if name not in _LONG}
    origin = rest.get("origin")
    if isinstance(origin, dict):
        listed = [name for name in ("files", "adapter") if origin.get(name)]
        rest["origin"] = origin | {name: _count(len(origin[name])) for name in listed}
    found = flat(rest)
    if provenance.get("recipe"):
        count = len(flat(provenance["recipe"]))
        found.append(("recipe", f"{count} settings, in --json and --html"))
    return found


def _files(summary: Summary) -> Table:
    table = _table("files", "name", "size", "sha256", numbers=("size",))
    table.show_header = False
    for file in summary.files:
        table.add_row(file.name, size(file.nbytes), Text(file.sha256[:16], style="dim"))
    return table


def _change_table(title: str, changes: Sequence[Change]) -> Table:
    table = _table(title, "field", "a", "b")
    for change in changes[:_MOST_CHANGES]:
        table.add_row(
            Text(printable(change.field)), *(_changed(value) for value in (change.a, change.b))
        )
    if len(changes) > _MOST_CHANGES:
        table.caption = f"{len(changes) - _MOST_CHANGES} more in --json"
        table.caption_justify = "left"
    return table


def _changed(value: object) -> Text:
    return Text("absent", style="dim") if value is None else _text(value)


def _by_kind(changes: Sequence[Change]) -> list[Change]:
    """Return one change for all matrices that do the same and change alike."""
    counts = Counter((kind_of(change.field), change.a, change.b) for change in changes)
    return [
        Change(kind if count == 1 else f"{kind}, {count} times", a, b)
        for (kind, a, b), count in counts.items()
    ]


def _tokenizers(difference: Difference) -> Text:
    tokens = difference.tokenizer
    text = Text("tokenizer  ", style="dim")
    if tokens.identical:
        text.append("identical", style="not dim")
    else:
        text.append(
            f"{tokens.tokens_a:,} and {tokens.tokens_b:,} tokens; {tokens.only_a:,} only in a, "
            f"{tokens.only_b:,} only in b, {tokens.moved:,} under another id; merges "
            + ("the same" if tokens.same_merges else "differ"),
            style="not dim",
        )
    if not tokens.same_chat_template:
        text.append("; chat templates differ", style="not dim")
    return text


def _distances(tensors: Sequence[TensorDistance]) -> Table:
    """Return the tensors that differ most."""
    changed = sorted((each for each in tensors if each.relative), key=lambda each: -each.relative)
    title = f"tensors: {len(changed)} of {len(tensors)} of the same shape differ"
    numbers = ("relative", "largest", "cosine")
    table = _table(title, "name", "a", "b", *numbers, numbers=numbers)
    table.show_header = bool(changed)
    for each in changed[:_MOST_TENSORS]:
        table.add_row(
            printable(each.name.removesuffix(".weight")),
            each.stored_a,
            each.stored_b,
            f"{each.relative:.3g}",
            f"{each.largest:.3g}",
            f"{each.cosine:.6f}",
        )
    if len(changed) > _MOST_TENSORS:
        table.caption = "the farthest; all in --json"
        table.caption_justify = "left"
    return table


def _count(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"
