"""A model card: an HTML page about an ingot, with charts, that runs and loads nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from ingot.artifact.inspection.parts import Part
from ingot.artifact.inspection.statistics import Distribution, LayerStatistics, WeightStatistics
from ingot.artifact.inspection.summary import Summary
from ingot.artifact.inspection.svg_charts import Bar, Box, Line, bars, boxes, histogram, lines
from ingot.artifact.inspection.words import flat, readable, size

_STYLE = files("ingot.artifact.inspection").joinpath("model_card.css")
_BINS = 120
_PARTS: tuple[Part, ...] = ("attention", "feed-forward")


def model_card(summary: Summary, weights: WeightStatistics, name: str) -> str:
    """Return the page. Every text of the ingot is escaped.

    Args:
        summary: What the ingot holds.
        weights: Figures of its weights.
        name: The title.
    """
    sections = [
        _sizes(summary),
        _weights(weights),
        _training(summary.provenance),
        _provenance(summary.provenance),
        _model(summary),
        _files(summary),
    ]
    style = _STYLE.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{_escaped(name)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{_head(summary, name)}\n{''.join(filter(None, sections))}</main>\n</body>\n</html>\n"
    )


def _head(summary: Summary, name: str) -> str:
    config = summary.config
    facts = [
        ("parameters", _rounded(summary.parameters)),
        ("size", size(summary.folder_bytes)),
        ("bits per weight", f"{summary.bits_per_weight:.2f}"),
        ("layers", config["num_hidden_layers"]),
        ("context", f"{config['max_position_embeddings']:,}"),
        ("tokens", f"{summary.tokens:,}"),
    ]
    loss = summary.provenance.get("bits_per_byte")
    if loss is not None:
        facts.append(("bits per byte", f"{loss:.4f}"))
    shown = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in facts)
    return (
        f'<header><h1>{_escaped(name)}</h1>\n<p class="quiet">{_escaped(_family(summary))}, '
        f"{_escaped(', '.join(_formats(summary)))}</p>\n"
        f'<p class="digest">{summary.digest}</p>\n<dl class="facts">{shown}</dl></header>'
    )


def _family(summary: Summary) -> str:
    """Return the architecture: of an imported model, by the name it had there."""
    origin = summary.provenance.get("origin")
    return str(origin["family"]) if origin else summary.architecture


def _formats(summary: Summary) -> list[str]:
    """Return the number formats of the matrices, the largest share first."""
    sizes: dict[str, int] = {}
    for kind in summary.kinds:
        if kind.part != "norms":
            for name in kind.formats:
                sizes[name] = sizes.get(name, 0) + kind.nbytes
    return sorted(sizes, key=lambda name: -sizes[name])


def _sizes(summary: Summary) -> str:
    by_size = [
        Bar(
            part.part,
            [("matrix", part.nbytes)],
            f"{size(part.nbytes)}, {part.nbytes / summary.weight_bytes:.1%}",
        )
        for part in summary.parts
    ]
    by_bits = [
        Bar(
            kind.kind,
            [("matrix", kind.bits_per_weight)],
            f"{kind.bits_per_weight:.2f}, {', '.join(kind.formats)}",
        )
        for kind in summary.kinds
        if kind.part != "norms"
    ]
    return _section(
        "Sizes",
        "<h3>Bytes by part of the model</h3>",
        _figure(bars(by_size, "bytes by part of the model")),
        "<h3>Bits per weight by kind of matrix</h3>",
        _figure(
            bars(by_bits, "bits per weight by kind of matrix"),
            "Scales included; in brackets the inputs that share one. Norms are left out.",
        ),
    )


def _weights(weights: WeightStatistics) -> str:
    parts = []
    for part in _PARTS:
        layers = [each for each in weights.layers if each.part == part and each.layer is not None]
        if layers:
            parts.append(f"<h3>{part.capitalize()}, by layer</h3>")
            parts.append(_figure(boxes([_box(each) for each in layers], part, "layer")))
    everything = Distribution()
    for each in weights.layers:
        if each.part != "norms":
            everything.merge(each.distribution)
    low, high = everything.quantiles((0.001, 0.999))
    end = max(-low, high) or 1.0
    counts = everything.histogram(np.linspace(-end, end, _BINS + 1)) / max(1, everything.count)
    parts += [
        "<h3>All matrices</h3>",
        _figure(
            histogram([float(count) for count in counts], -end, end, "values of all matrices"),
            "Share of the values in each of 120 bins, without the outermost 0.1% on each side.",
        ),
        _layer_table(weights.layers),
    ]
    note = (
        '<p class="quiet">Boxes hold half of the values, whiskers 98%; the line is the median. '
        "Values are those that the model computes with, quantized or not.</p>"
    )
    return _section("Weights", note, *parts)


def _box(each: LayerStatistics) -> Box:
    return Box(str(each.layer), each.quantiles, each.minimum, each.maximum)


def _layer_table(layers: Sequence[LayerStatistics]) -> str:
    rows = [
        [
            each.part,
            "" if each.layer is None else str(each.layer),
            f"{each.count:,}",
            f"{each.rms:.4g}",
            f"{each.minimum:.4g}",
            f"{each.maximum:.4g}",
            f"{each.outliers:.2g}",
        ]
        for each in layers
    ]
    head = ("part", "layer", "values", "RMS", "least", "most", "beyond 6 RMS")
    return _details("Figures by layer", _table(head, rows, first_number=1))


def _training(provenance: Mapping[str, Any]) -> str:
    """Return the losses of the run, if the ingot records them."""
    curves = [
        Line(label, css, [(float(x), float(y)) for x, y in provenance.get(field) or []])
        for label, css, field in (
            ("training", "training", "training_curve"),
            ("held out", "validation", "validation_curve"),
        )
    ]
    curves = [curve for curve in curves if curve.points]
    if not curves:
        return ""
    key = ", ".join(f'<span class="key-{each.css}">&#9644;</span> {each.label}' for each in curves)
    return _section(
        "Training",
        _figure(
            lines(curves, "loss of the run", "update"), f"Loss in nats per token: {key}.", raw=True
        ),
    )


def _provenance(provenance: Mapping[str, Any]) -> str:
    rest = {
        key: value
        for key, value in provenance.items()
        if key not in {"recipe", "training_curve", "validation_curve"}
    }
    rows = [(key, value) for key, value in flat(rest) if value is not None]
    parts = [_pairs(rows) if rows else '<p class="quiet">Nothing is recorded.</p>']
    if provenance.get("recipe"):
        parts.append(_details("Recipe", _pairs(flat(provenance["recipe"]))))
    return _section("Provenance", *parts)


def _model(summary: Summary) -> str:
    template = f"<pre>{_escaped(summary.chat_template, keep_lines=True)}</pre>"
    return _section("Model", _pairs(summary.settings), _details("Chat template", template))


def _files(summary: Summary) -> str:
    rows = [[file.name, size(file.nbytes), file.sha256] for file in summary.files]
    signature = summary.signature
    if signature is None:
        note = "There was no signature beside it when this page was made."
    else:
        note = "A signature lay beside it when this page was made; it was not checked here."
    check = "Check every byte with <code>ingot verify</code>"
    table = _table(("file", "size", "SHA-256"), rows, first_number=1, last_number=1)
    return _section(
        "Files", f'<div class="scroll">{table}</div>', f'<p class="quiet">{note} {check}.</p>'
    )


def _rounded(count: int) -> str:
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g}{unit}"
    return str(count)


def _escaped(text: object, *, keep_lines: bool = False) -> str:
    """Return a text as HTML, control characters but line breaks shown as escapes."""
    plain = "".join(
        each
        if each.isprintable() or (keep_lines and each == "\n")
        else each.encode("unicode_escape").decode()
        for each in str(text)
    )
    return escape(plain)


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2>\n{''.join(parts)}</section>\n"


def _figure(chart: str, caption: str = "", *, raw: bool = False) -> str:
    words = caption if raw else escape(caption)
    return f"<figure>{chart}{f'<figcaption>{words}</figcaption>' if caption else ''}</figure>\n"


def _details(title: str, content: str) -> str:
    return f'<details><summary>{title}</summary><div class="scroll">{content}</div></details>\n'


def _pairs(rows: Iterable[tuple[str, Any]]) -> str:
    """Return a table of names and values."""
    cells = "".join(
        f'<tr><td class="key">{_escaped(key)}</td>'
        f'<td class="mono">{_escaped(_plain(value))}</td></tr>'
        for key, value in rows
    )
    return f"<table><tbody>{cells}</tbody></table>"


def _plain(value: Any) -> object:
    return json.dumps(value) if isinstance(value, list | tuple | bool) else readable(value)


def _table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    first_number: int,
    last_number: int | None = None,
) -> str:
    """Return a table; columns from ``first_number`` to ``last_number`` are aligned as numbers."""
    last = len(head) - 1 if last_number is None else last_number
    css = [
        "number" if first_number <= at <= last else "mono" * (at > last) for at in range(len(head))
    ]
    heads = "".join(f'<th class="{kind}">{each}</th>' for kind, each in zip(css, head, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{_escaped(cell)}</td>' for kind, cell in zip(css, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
