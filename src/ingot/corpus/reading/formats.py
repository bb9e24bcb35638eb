"""Formats of source files: plain text, JSONL and Parquet, each read as a stream."""

from __future__ import annotations

import codecs
import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from ingot.corpus.config import CorpusConfig
from ingot.corpus.encodings import decode
from ingot.corpus.reading.content import declared_encoding, is_plain
from ingot.corpus.reading.decompress import Expansion
from ingot.corpus.reading.jsonl import Line, kind_of, read_lines
from ingot.corpus.reading.report import ReadReport, Reason
from ingot.errors import CorpusError
from ingot.files import full_disk_named

PIECE_BYTES = 4 << 20
"""Longest document made of a plain text file; tokenizing takes about 100 times its memory."""

_ROWS, _BATCH_BYTES = 256, 64 << 20  # of Parquet at once
_MAX_GROUP = 1 << 30
# Keys of examples for fine-tuning, which are not text to continue.
_EXAMPLES: dict[str, tuple[set[str], ...]] = {
    "preference": ({"chosen", "rejected"},),
    "chat": (
        *({"messages"}, {"conversations"}, {"prompt", "completion"}, {"instruction", "output"}),
        *({"prompt", "response"}, {"instruction", "response"}, {"question", "answer"}),
    ),
}


def read_text(
    stream: BinaryIO, path: Path, config: CorpusConfig, report: ReadReport
) -> Iterator[tuple[str, str]]:
    """Yield a plain text file as one text, or as several if it is longer than ``PIECE_BYTES``.

    A byte order mark is dropped. A piece that is neither UTF-8 nor in the encoding that the
    file declares or the config names is counted and left out; a file that begins with a
    binary piece is left out whole.
    """
    declared: str | None = None
    for number, piece in enumerate(_pieces(stream), start=1):
        origin = str(path) if number == 1 else f"{path}#{number}"
        if number == 1:
            declared = declared_encoding(piece)
            piece = piece.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901
        if b"\0" in piece:
            report.skip(Reason.BINARY, origin)
            if number == 1:
                return
            continue
        try:
            # Any bytes decode as Latin-1, a picture's as well.
            yield decode(piece, *((declared, config.encoding) if is_plain(piece) else ())), origin
        except UnicodeDecodeError:
            report.skip(Reason.NOT_UTF8 if is_plain(piece) else Reason.BINARY, origin)


def read_jsonl(
    stream: BinaryIO, path: Path, config: CorpusConfig, report: ReadReport
) -> Iterator[tuple[str, Line]]:
    """Yield the text field of every line; blank lines are ignored.

    Raises:
        CorpusError: a line is not a JSON object, is too long, or its field is missing or not text.
    """
    field = config.json_field
    for line in read_lines(stream, path):
        # orjson, the faster parser, reads nearly all lines; json explains the others.
        text = _quick_text_field(line, field)
        if text is None:
            try:
                text = _text_field(line.parse(config.encoding), field, line)
            except UnicodeDecodeError:
                report.skip(Reason.NOT_UTF8, line.origin)
                continue
        yield text, line


def read_parquet(
    stream: BinaryIO, path: Path, column: str, report: ReadReport
) -> Iterator[tuple[str, str]]:
    """Yield the text column of every row; compressed files are first decompressed to disk.

    Raises:
        CorpusError: pyarrow is not installed, the file is damaged, or the column is missing or
            does not hold text.
        ResourceError: the disk that holds temporary files is full.
    """
    with tempfile.TemporaryFile() as temporary:
        if not stream.seekable():
            with full_disk_named(Path(tempfile.gettempdir())):
                shutil.copyfileobj(stream, temporary, 1 << 20)
                temporary.seek(0)
            stream = temporary
        yield from _parquet_rows(stream, path, column, report)


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """Cut a stream after a line, or failing that after a character, every ``PIECE_BYTES``."""
    rest, whole = b"", True
    while block := stream.read(PIECE_BYTES - len(rest)):
        rest += block
        if len(rest) == PIECE_BYTES:
            cut = rest.rfind(b"\n") + 1 or _character_border(rest)
            yield rest[:cut]
            rest, whole = rest[cut:], False
    if rest or whole:  # an empty file is one empty piece, to be counted
        yield rest


def _character_border(data: bytes) -> int:
    """Return where the last character that may be incomplete begins."""
    cut = len(data) - 1
    while cut > len(data) - 4 and data[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


def _quick_text_field(line: Line, field: str) -> str | None:
    """Return the text of a well-formed line; None if it takes a full parse to decide."""
    try:
        line.refuse_crowded()
        value = orjson.loads(line.data)
    except orjson.JSONDecodeError:  # half a surrogate pair, a byte order mark, or invalid
        return None
    text = value.get(field) if isinstance(value, dict) else None
    return text if isinstance(text, str) else None


def _text_field(value: dict[str, Any], field: str, line: Line) -> str:
    """Return the text of a line's object; null is an empty text."""
    if field not in value:
        fix = _other_field(value, line.path)
        raise CorpusError(f"has no field {field!r}", where=line.origin, fix=fix)
    text = value[field]
    if text is None:
        return ""
    if not isinstance(text, str):
        raise CorpusError(
            f"field {field!r} is {kind_of(text)}, not text",
            where=line.origin,
            fix="name a field that holds text: --set corpus.json_field=NAME",
        )
    return text


def _other_field(value: Mapping[str, Any], path: Path) -> str:
    """Return what to do with an object that lacks the text's field."""
    for task, shapes in _EXAMPLES.items():
        if any(keys <= value.keys() for keys in shapes):
            command = f"ingot train {path} --from MODEL.ingot --task {task}"
            return f"it holds examples of the task {task}; tune a sealed model with: {command}"
    return choose_field(value)


def _parquet_rows(
    stream: BinaryIO, path: Path, column: str, report: ReadReport
) -> Iterator[tuple[str, str]]:
    try:
        import pyarrow as arrow  # noqa: PLC0415  heavy, and only Parquet needs it
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise CorpusError(
            "Parquet needs pyarrow, which is not installed",
            where=path,
            fix="pip install 'ingot[train]'",
        ) from error
    row = 0
    read = Expansion(stream.seek(0, io.SEEK_END), path)
    stream.seek(0)
    try:
        with parquet.ParquetFile(stream) as table:
            _check_column(table.schema_arrow, column, path)
            # Unbuffered, so that one row can be read of a group, not its whole column.
            with parquet.ParquetFile(stream, buffer_size=1 << 16, pre_buffer=False) as probe:
                rows = _rows_at_once(probe, column, path)
            for batch in table.iter_batches(batch_size=rows, columns=[column]):
                for value in batch.column(0):
                    row += 1
                    text = _row_text(value)
                    read.add(len(text or ""))
                    if text is None:
                        report.skip(Reason.NOT_UTF8, f"{path}:{row}")
                    else:
                        yield text, f"{path}:{row}"
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"cannot be read as Parquet after row {row} ({error})",
            where=path,
            fix="fetch or write the file again",
        ) from error


def _rows_at_once(table: Any, column: str, path: Path) -> int:
    """Return how many rows to hold in memory, none of them longer than its row group.

    A text that is stored once and named in every row takes its length for each of them.

    Raises:
        CorpusError: a row group is too large to read.
    """
    metadata, sizes = table.metadata, [0]
    paths = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    for number in range(metadata.num_row_groups):
        # pyarrow ends the process where it is asked for a chunk whose description is damaged;
        # where it reads a row of it, it raises an exception.
        next(table.iter_batches(1, row_groups=[number], columns=[column]), None)
        group = metadata.row_group(number)
        sizes += [
            group.column(index).total_uncompressed_size
            for index, name in enumerate(paths)
            if name == column
        ]
    if max(sizes) > _MAX_GROUP:
        raise CorpusError(
            f"has a row group of {max(sizes) >> 20} MiB",
            where=path,
            fix=f"write it with row groups of at most {_MAX_GROUP >> 20} MiB",
        )
    return max(1, min(_ROWS, _BATCH_BYTES // max(1, *sizes)))


def _check_column(schema: Any, column: str, path: Path) -> None:
    from pyarrow import types  # noqa: PLC0415  the caller has imported it

    if column not in schema.names:
        raise CorpusError(
            f"has no column {column!r}",
            where=path,
            fix=choose_field(schema.names),
        )
    kind = schema.field(column).type
    value_kind = kind.value_type if types.is_dictionary(kind) else kind
    if not (
        types.is_string(value_kind)
        or types.is_large_string(value_kind)
        or types.is_string_view(value_kind)
    ):
        raise CorpusError(
            f"column {column!r} is {kind}, not text",
            where=path,
            fix="name a column that holds text: --set corpus.json_field=NAME",
        )


def _row_text(value: Any) -> str | None:
    """Return one cell's text, empty for null, None for bytes that are not UTF-8."""
    try:
        return value.as_py() or ""
    except UnicodeDecodeError:
        return None


def choose_field(names: Iterable[str]) -> str:
    """Return how to name the field that holds the text, given those that there are."""
    shown = [str(name)[:40] for name in islice(names, 8)]
    if not shown:
        return "write the text into it"
    known = ", ".join(map(repr, shown))
    return f"name the one that holds text, of {known}: --set corpus.json_field={shown[0]}"
