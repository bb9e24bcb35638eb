"""The model card, ``README.md``: where an exported model comes from."""

from __future__ import annotations

import json

from ingot.artifact.ingot import Ingot


def origin_of(ingot: Ingot) -> dict[str, str]:
    """Return what is known of the model that an ingot was imported from.

    Keys: ``source``, ``license``, ``base_model``, ``revision``, ``family``.
    """
    origin = ingot.manifest.provenance.origin
    names = ("source", "license", "base_model", "revision", "family")
    found = {name: getattr(origin, name, None) for name in names}
    return {name: value for name, value in found.items() if value}


def base_model_of(ingot: Ingot) -> str | None:
    """Return ``ORG/NAME`` of the model on the hub that an ingot was made from, where known."""
    origin = origin_of(ingot)
    source = origin.get("source", "")
    if source.startswith("hf:"):
        return source.removeprefix("hf:")
    return origin.get("base_model")


def model_card(ingot: Ingot, *, library: str, kind: str, notes: tuple[str, ...]) -> bytes:
    """Return a ``README.md`` with the front matter that the hub reads.

    Args:
        ingot: The ingot that was exported.
        library: What loads the export: "transformers".
        kind: The number format of its matrices.
        notes: What differs from the ingot.
    """
    provenance = ingot.manifest.provenance
    origin = origin_of(ingot)
    head: dict[str, object] = {
        "library_name": library,
        "pipeline_tag": "text-generation",
        "tags": ["ingot"],
    }
    if "license" in origin:
        head["license"] = origin["license"]
    if base := base_model_of(ingot):
        head["base_model"] = base
    facts = {
        "Number format": kind,
        "Digest of the ingot": ingot.digest,
        "Parameters": f"{ingot.config.parameters:,}",
        "Context": f"{ingot.config.max_position_embeddings:,} tokens",
        "Imported from": origin.get("source"),
        "Revision": origin.get("revision"),
        "Digest of its parent": provenance.parent,
        "Digest of the corpus": provenance.corpus_digest,
        "Training tokens": provenance.tokens and f"{provenance.tokens:,}",
        "Bits per byte of held-out text": provenance.bits_per_byte
        and f"{provenance.bits_per_byte:.4f}",
        "Made by": provenance.code_version and f"Ingot {provenance.code_version}",
    }
    # JSON is YAML, and quotes what a licence or a name from elsewhere may hold.
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items()), "---", ""]
    lines += [f"# {_cell(ingot.path.stem)}", "", "Exported by Ingot.", ""]
    lines += ["| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(str(value))} |" for name, value in facts.items() if value]
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    return ("\n".join(lines) + "\n").encode()


def _cell(text: str) -> str:
    """Return a text on one line, without the marks of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
