"""Sources of a build, each as a file or folder that can be read twice."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ingot.corpus.config import CorpusConfig
from ingot.corpus.reading.files import FileList
from ingot.corpus.reading.hub import PREFIX, spool_dataset
from ingot.corpus.reading.listing import list_files
from ingot.corpus.reading.selection import Selection
from ingot.errors import CorpusError
from ingot.files import sha256_file

STDIN = "-"

_BLOCK = 1 << 20
_SUFFIX = {"text": ".txt", "jsonl": ".jsonl"}


@dataclass(frozen=True, slots=True)
class Input:
    """One source.

    Attributes:
        name: Its name in a mix: the last part of its path, ``stdin``, or ``hf:...`` as given.
        path: The file or folder to read.
        content: SHA-256 of what was spooled to ``path``; None for the user's own files.
    """

    name: str
    path: Path
    content: str | None = None


def resolve_inputs(
    sources: Sequence[Path], config: CorpusConfig, spool: Path, stdin: BinaryIO | None = None
) -> list[Input]:
    """Return the sources; a stream that can be read only once is first written to ``spool``.

    Args:
        sources: Files, folders, ``-`` for standard input, ``hf:...`` for a dataset of the hub.
        config: Gives the format of standard input and the column that holds the text.
        spool: A folder that belongs to the build; a dataset found there is not fetched again.
        stdin: Read in place of ``sys.stdin``.

    Raises:
        CorpusError: standard input is named twice or closed, or a dataset cannot be fetched.
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
            inputs.append(Input(text, path, sha256_file(path, CorpusError)))
        else:
            inputs.append(Input(source.resolve().name, source))
    return inputs


def list_input_files(inputs: Sequence[Input], config: CorpusConfig) -> FileList:
    """List the files of all inputs; spooled files carry the name of their source."""
    found = list_files(
        [item.path for item in inputs],
        Selection.of(config),
        encoding=config.encoding,
        shown=[None if item.content is None else item.name for item in inputs],
    )
    files = (replace(file, content=inputs[file.source].content) for file in found.files)
    return replace(found, files=tuple(files))


def _spool_stdin(path: Path, stdin: BinaryIO | None) -> str:
    """Write standard input to ``path``; return its SHA-256. Ctrl-C interrupts the wait."""
    stream = stdin or (sys.stdin.buffer if sys.stdin else None)
    if stream is None:
        raise CorpusError("is closed", where="stdin", fix="pipe text into the command")
    digest = hashlib.sha256()
    with path.open("wb") as file:
        while block := stream.read(_BLOCK):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()
