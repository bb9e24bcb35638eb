"""Export to a folder that ``ollama create`` takes: a GGUF file and a Modelfile."""

from __future__ import annotations

from pathlib import Path

from ingot.artifact.export.chat_format import chat_format
from ingot.artifact.export.gguf.export import GgufPlan, GgufType
from ingot.artifact.export.model_card import origin_of
from ingot.artifact.export.small_files import SmallFiles
from ingot.artifact.export.target import Exported, Progress, new_folder
from ingot.artifact.format.shards import write_new
from ingot.artifact.ingot import Ingot
from ingot.errors import UsageError
from ingot.files import replacing

MODELFILE = "Modelfile"
_GGUF = "model.gguf"
_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
_RENAMED = {"repetition_penalty": "repeat_penalty"}


def export_modelfile(
    ingot: Ingot,
    out: Path,
    *,
    kind: GgufType | None = None,
    system: str | None = None,
    license_text: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write an ingot as GGUF with a Modelfile: ``ollama create NAME -f OUT/Modelfile``.

    Args:
        ingot: The ingot.
        out: The folder to make.
        kind: Number format of the matrices; by default the one nearest to the ingot's.
        system: System message of conversations that have none; by default the template's own.
        license_text: The licence; by default what the imported model's card names.
        overwrite: Replace an earlier export that is there.
        progress: Called while the weights are written.

    Raises:
        UsageError: llama.cpp does not compute this model, ollama cannot write its chat template,
            a text cannot be quoted, or ``out`` is taken.
        ArtifactError: a digest differs, or a weight is too large for the number format.
        ResourceError: the disk is full.
    """
    plan = GgufPlan(ingot, kind)
    licensed = license_text or origin_of(ingot).get("license")
    text = modelfile(plan.small, ingot.config.max_position_embeddings, system, licensed)
    with new_folder(out, overwrite=overwrite, marker=MODELFILE, belongs=_belongs) as folder:
        with replacing(folder / _GGUF) as file:
            exported = plan.write(file, out, progress)
        write_new(folder / MODELFILE, text.encode())
    return exported


def modelfile(small: SmallFiles, context: int, system: str | None, license_text: str | None) -> str:
    """Return the Modelfile of a model.

    Raises:
        UsageError: ollama cannot write its chat template, or a text cannot be quoted.
    """
    tokens = {each["id"]: each["content"] for each in small.tokenizer["added_tokens"]}
    names = {name: _text(small.tokenizer_config.get(name)) for name in ("bos_token", "eos_token")}
    # ollama's engine puts the beginning of text itself.
    adds = bool(small.tokenizer_config.get("add_bos_token"))
    form = chat_format(small.chat_template, names | ({"bos_token": ""} if adds else {}))
    lines = [f"FROM ./{_GGUF}", f"TEMPLATE {_quoted('template', form.go_template())}"]
    told = system if system is not None else form.system
    if told:
        lines.append(f"SYSTEM {_quoted('system', told)}")
    lines += [f"PARAMETER stop {_quoted('stop', tokens[i])}" for i in small.eos_ids if i in tokens]
    lines.append(f"PARAMETER num_ctx {context}")
    for name in _SAMPLING:
        if isinstance(value := small.generation.get(name), int | float):
            lines.append(f"PARAMETER {_RENAMED.get(name, name)} {value}")
    if license_text:
        lines.append(f"LICENSE {_quoted('license', license_text)}")
    return "\n".join(lines) + "\n"


def _text(token: object) -> str:
    """Return a special token's text, which may stand in an object."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _quoted(what: str, text: str) -> str:
    """Return a text in the quotes of a Modelfile, which has no escapes."""
    if '"""' in text or "\0" in text:
        raise UsageError(
            "holds three quotation marks in a row, which a Modelfile cannot", where=what
        )
    return f'"""{text}"""' if "\n" in text or '"' in text else f'"{text}"'


def _belongs(name: str) -> bool:
    return name in (MODELFILE, _GGUF)
