"""What a server is told before it starts."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ServerConfig(BaseModel):
    """Address, limits and waits of a server."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    host: str = "127.0.0.1"
    """Address to listen on; a name is looked up."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """0 lets the system pick a free one."""
    allow_public: bool = False
    """Permit an address that other machines can reach, although nobody has to show a key."""
    model_name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """What clients call the model; None takes the name of the ingot's folder."""
    request_timeout_s: _Seconds = 600.0
    """Longest a request may take, waiting in the queue included."""
    body_timeout_s: _Seconds = 30.0
    """Longest a client may take to send its request."""
    drain_timeout_s: _Seconds = 30.0
    """How long a stopping server lets running requests finish before it cancels them."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 1_000_000
    """Largest request body."""
    max_sequences: Annotated[int, Field(ge=1)] = 128
    """Most answers one request may ask for: prompts times ``n``."""
