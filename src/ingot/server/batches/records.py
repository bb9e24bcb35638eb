"""Records of files and batches, as they are kept on disk beside what they describe."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ingot.server.schemas.batches import BatchStatus, Endpoint
from ingot.server.schemas.common import Metadata

ENDED: frozenset[BatchStatus] = frozenset({"failed", "completed", "expired", "cancelled"})
_Id = Annotated[str, Field(pattern=r"^(file|batch)[-_][0-9a-f]{32}$")]
_Seconds = Annotated[int, Field(ge=0, lt=2**53)]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WINDOW = re.compile(r"([1-9][0-9]{0,6})([smhd])")
_LONGEST_WINDOW_S = 30 * 86_400


class FileRecord(BaseModel):
    """A file and whose it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: _Id
    owner: str
    """Name of the API key; empty on a server without keys."""
    filename: Annotated[str, Field(max_length=256)]
    purpose: Literal["batch", "batch_output"]
    size: Annotated[int, Field(ge=0)]
    """Its bytes."""
    created_at: _Seconds
    """Seconds since 1970, as all times here."""
    expires_at: _Seconds | None = None
    """When it is deleted; None: when it is asked for."""


class LineError(BaseModel):
    """What is wrong with a line of a batch's input, or with the batch."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    code: str
    message: str
    line: int | None = None
    """Number of the line, from 1."""
    param: str | None = None
    """The field of the line."""


class BatchRecord(BaseModel):
    """A batch, whose it is, and how far it has come."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: _Id
    owner: str
    endpoint: Endpoint
    input_file_id: str
    completion_window: str
    output_lifetime_s: _Seconds | None = None
    """Seconds that the files of results are kept; None: until they are deleted."""
    metadata: Metadata | None = None
    status: BatchStatus = "validating"
    ends_as: BatchStatus = "completed"
    """The last state, from ``finalizing`` on."""
    errors: tuple[LineError, ...] = ()
    """Why it failed."""
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: _Seconds
    expires_at: _Seconds
    in_progress_at: _Seconds | None = None
    finalizing_at: _Seconds | None = None
    cancelling_at: _Seconds | None = None
    ended_at: _Seconds | None = None
    """When it became what ``status`` says, if that is a last state."""
    total: int = 0
    """Its requests; 0 until they are counted."""
    completed: int = 0
    """Those answered, as of the last change of state."""
    failed: int = 0
    """Those with an error, likewise."""
    crashes: int = 0
    """How often the server ended without stopping, one after another, before any further result."""

    @property
    def ended(self) -> bool:
        """Whether its state is a last one."""
        return self.status in ENDED


def window_s(text: str) -> int | None:
    """Return the seconds of a completion window such as ``24h``; None if it is not one."""
    found = _WINDOW.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    return seconds if 0 < seconds <= _LONGEST_WINDOW_S else None
