"""OpenAI's files: what is answered.

Source: https://platform.openai.com/docs/api-reference/files
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

LifetimeSeconds = Annotated[int, Field(ge=3600, le=2_592_000)]
"""Seconds after which a file is deleted: an hour to 30 days, as OpenAI's."""


@dataclass(frozen=True)
class File:
    """A file."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: Literal["batch", "batch_output"]
    expires_at: int | None = None
    status: Literal["processed"] = "processed"
    object: Literal["file"] = "file"


@dataclass(frozen=True)
class FileList:
    """Files of a key."""

    data: list[File]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


@dataclass(frozen=True)
class DeletedFile:
    """A file that was deleted."""

    id: str
    deleted: Literal[True] = True
    object: Literal["file"] = "file"


class FilesQuery(BaseModel):
    """The query of ``GET /v1/files``."""

    model_config = ConfigDict(extra="forbid")

    purpose: Literal["batch", "batch_output"] | None = None
    """Only files of this purpose."""
    limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    """Oldest or newest first."""
    after: str | None = None
    """Id of the file before the first that is listed."""
