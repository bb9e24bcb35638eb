"""The sources of a build, each as something that can be read twice."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ingot.corpus.config import CorpusConfig
from ingot.corpus.reading.files import SourceFile, find_files
from ingot.corpus.reading.hub import PREFIX, spool_dataset
from ingot.corpus.reading.report import ReadReport
from ingot.errors import CorpusError
from ingot.files import sha256_file

STDIN = "-"

_BLOCK = 1 << 20
_SUFFIX = {"text": ".txt", "jsonl": ".jsonl"}


@dataclass(frozen=True, slots=True)
class Input:
    """One source.

    Attributes:
        name: What a mix calls it: the last part of its path, ``stdin``, or ``hf:...`` as given.
        path: The file or folder to read.
        content: SHA-256 of what was spooled to ``path``; None for the user's own files.
    """

    name: str
    path: Path
    content: str | None = None


def gather(
    sources: Sequence[Path], config: CorpusConfig, spool: Path, stdin: BinaryIO | None = None
) -> list[Input]:
    """Return the sources; what can be read only once is first written to the folder ``spool``.

    Args:
        sources: Files, folders, ``-`` for standard input, ``hf:...`` for a dataset of the hub.
        config: Says how standard input is to be read and which column holds the text.
        spool: A folder of the build's own; a dataset found there is not fetched again.
        stdin: Read in place of ``sys.stdin``.

    Raises:
        CorpusError: standard input is named twice or closed, or a dataset cannot be had.
        ResourceError: the disk is full.
    """
    inputs: list[Input] = []
    for source in sources:
        text = str(source)
        if text == STDIN:
            if any(item.name == "stdin" and item.content for item in inputs):
                raise CorpusError("is named twice", where="stdin", fix="name - once")
            path = spool / f"stdin{_SUFFIX[config.stdin_format]}"
            inputs.append(Input("stdin", path, _spool_stdin(path, stdin)))
        elif text.startswith(PREFIX):
            path = spool_dataset(text, config.json_field, spool)
            inputs.append(Input(text, path, sha256_file(path)))
        else:
            inputs.append(Input(source.resolve().name, source))
    return inputs


def find_input_files(
    inputs: Sequence[Input], report: ReadReport, config: CorpusConfig
) -> Iterator[SourceFile]:
    """Yield the files of all inputs; those that were spooled go by the name of their source."""
    for file in find_files([item.path for item in inputs], report, suffixes=config.suffixes):
        item = inputs[file.source]
        if item.content is None:
            yield file
        else:
            yield replace(file, shown=Path(item.name), content=item.content)


def _spool_stdin(path: Path, stdin: BinaryIO | None) -> str:
    """Write standard input to ``path``; return its SHA-256. Ctrl-C ends the wait for more."""
    stream = stdin or (sys.stdin.buffer if sys.stdin else None)
    if stream is None:
        raise CorpusError("is closed", where="stdin", fix="pipe text into the command")
    digest = hashlib.sha256()
    with path.open("wb") as file:
        while block := stream.read(_BLOCK):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()
