"""OpenAI's batches: request and answer.

Source: https://platform.openai.com/docs/api-reference/batch
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ingot.server.schemas.common import Metadata
from ingot.server.schemas.files import LifetimeSeconds

Endpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
"""Routes whose requests may be batched."""
BatchStatus = Literal[
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
]


class ExpiresAfter(BaseModel):
    """When a file is deleted."""

    model_config = ConfigDict(extra="forbid", strict=True)

    anchor: Literal["created_at"]
    seconds: LifetimeSeconds


class BatchRequest(BaseModel):
    """The body of ``POST /v1/batches``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    input_file_id: Annotated[str, Field(max_length=64)]
    """A file uploaded with the purpose "batch"."""
    endpoint: Endpoint
    completion_window: Annotated[str, Field(max_length=16)]
    """Time after which what is not answered is given up: "24h" as at OpenAI, or any number of s,
    m, h or d up to 30 days."""
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None
    """When the files of results are deleted; by default they are kept."""


@dataclass(frozen=True)
class BatchError:
    """What is wrong with a line of the input, or with the batch."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True)
class BatchErrors:
    """Why a batch failed."""

    data: list[BatchError]
    object: Literal["list"] = "list"


@dataclass(frozen=True)
class RequestCounts:
    """The requests of a batch."""

    total: int
    completed: int
    failed: int


@dataclass(frozen=True)
class Batch:
    """A batch."""

    id: str
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: BatchStatus
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None
    object: Literal["batch"] = "batch"


@dataclass(frozen=True)
class BatchList:
    """Batches of a key, newest first."""

    data: list[Batch]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


class BatchesQuery(BaseModel):
    """The query of ``GET /v1/batches``."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    after: str | None = None
    """Id of the batch before the first that is listed."""
