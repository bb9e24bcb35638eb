"""Failure of one sequence by its own work, which ends it alone."""

from __future__ import annotations

import logging

from ingot.errors import ServeError
from ingot.inference.request.sequence import OutputDelta, Sequence

_log = logging.getLogger(__name__)


def failure_reason(sequence: Sequence, error: BaseException) -> str:
    """Return the error text of a sequence whose own work raised; the engine continues.

    ``BaseException``, because a panic in a library written in Rust is not an ``Exception``.

    Raises:
        BaseException: the error itself if it is meant to end the process.
    """
    if isinstance(error, ServeError):
        return str(error)
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    _log.error("sequence %d: its own work raised; it ends alone", sequence.id, exc_info=error)
    return "engine: internal error in this request; the log has the details"


def failed_delta(error: str) -> OutputDelta:
    """Return the only delta of a sequence without output."""
    return OutputDelta("", (), finish_reason="error", error=error)
