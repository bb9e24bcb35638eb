"""What a server is told before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ingot.inference.request.params import Timeout

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]


class ServerConfig(BaseModel):
    """Address, limits and waits of a server."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    host: str = "127.0.0.1"
    """Address to listen on; a name is looked up."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """0 lets the system pick a free one."""
    allow_public: bool = False
    """Permit an address that other machines can reach, although nobody has to show a key."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names by which clients may address the server; IP addresses always may be used."""
    cors_origins: tuple[str, ...] = ()
    """Origins of web pages that may use the API; none by default."""
    api_keys: Path | None = None
    """File of accepted keys, see ``ingot.server.access.api_keys``; None asks for no key."""
    model_name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """What clients call the first model; None takes the name of the ingot's folder."""

    header_timeout_s: _Seconds = 10.0
    """Longest a client may take to send a request's head."""
    body_timeout_s: _Seconds = 30.0
    """Longest a client may take to send its request's body."""
    write_timeout_s: _Seconds = 60.0
    """Longest a client may leave a full send buffer unread."""
    request_timeout_s: Timeout = 600.0
    """Longest a request may take, waiting in the queue included."""
    drain_timeout_s: _Seconds = 30.0
    """How long a stopping server lets running requests finish before it cancels them."""

    max_head_bytes: _Count = 65_536
    """Largest head of a request: its line and headers."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 1_000_000
    """Largest request body."""
    max_sequences: _Count = 128
    """Most answers one request may ask for: prompts times ``n`` or ``best_of``."""
    max_open_requests: _Count = 8192
    """Most requests running and waiting; past it new ones are refused with 429."""
    max_open_tokens: _Count = 16_000_000
    """Most tokens of prompts and longest answers, running and waiting, likewise."""

    log_file: Path | None = None
    """Where log lines go when the server runs in the foreground; None is stderr."""
    log_requests: bool = False
    """Write a line for each request."""
    log_prompts: bool = False
    """Write prompts into those lines."""
    otlp_endpoint: str | None = None
    """Where traces are sent over OTLP/HTTP, such as ``http://localhost:4318/v1/traces``."""
