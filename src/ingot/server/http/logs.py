"""Structured logs: one JSON object per line, written by a thread of their own.

A full disk or a closed pipe costs log lines, which are counted, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import queue
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from ingot.errors import ServeError

_MAX_WAITING = 10_000
FIELDS = "fields"
"""Name of the ``extra`` that holds a record's own fields."""


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = time.gmtime(record.created)
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, FIELDS, {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class LogWriter:
    """Writes log records to a file or stderr without blocking their sender.

    Args:
        path: File to append to; None is stderr.

    Raises:
        ServeError: the file cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self.dropped = 0
        """Lines lost because the file could not be written or the queue was full."""
        self._stream = sys.stderr if path is None else _open(path)
        self._handler = logging.StreamHandler(self._stream)
        self._handler.setFormatter(JsonFormatter())
        self._handler.handleError = self._drop  # type: ignore[method-assign]
        waiting: queue.Queue[logging.LogRecord] = queue.Queue(_MAX_WAITING)
        self._entry = _Entry(waiting)
        self._entry.handleError = self._drop  # type: ignore[method-assign]
        self._listener = logging.handlers.QueueListener(waiting, self._handler)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Take all log records of this process inside the block."""
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.INFO)
        root.addHandler(self._entry)
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # not its own starts and stops
        self._listener.start()
        try:
            yield
        finally:
            root.removeHandler(self._entry)
            root.setLevel(level)
            self._listener.stop()
            if self._stream is not sys.stderr:
                with contextlib.suppress(OSError):  # buffered lines are lost on a full disk
                    self._stream.close()

    def _drop(self, record: logging.LogRecord) -> None:
        del record
        self.dropped += 1


class _Entry(logging.handlers.QueueHandler):
    """Queues records as they are; the writer's thread formats them."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


def _open(path: Path) -> Any:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise ServeError(f"cannot be written ({error.strerror})", where=path) from error
