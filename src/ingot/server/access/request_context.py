"""Record of one request, from which its log line, metrics and trace are made."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.types import Scope

from ingot.server.access.api_keys import Key
from ingot.server.access.key_shares import KeyShares
from ingot.server.http.errors import ApiError
from ingot.server.schemas.identifiers import new_id

_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


@dataclass
class RequestContext:
    """Filled in by the code that handles the request; read once it is over."""

    id: str
    """The client's ``x-request-id`` if it is a plain one, else a new one."""
    method: str
    path: str
    session: str | None = None
    """The conversation that the client's ``x-session-id`` names, if it is a plain name."""
    started: float = field(default_factory=time.perf_counter)
    traceparent: str | None = None
    """The client's trace context (W3C Trace Context)."""
    key: Key | None = None
    """The entry of the API key sent."""
    shares: KeyShares | None = None
    """What bounds the server's own work for each key; None where nothing does."""
    user: str | None = None
    """The end user that the client named."""
    model: str | None = None
    streamed: bool = False
    refusal: str | None = None
    """Why it was refused with 429, as metrics call it."""
    status: int = 0
    """HTTP status sent; 0 if the client disconnected before."""
    wake_s: float | None = None
    """Seconds that it waited for its model to wake; None where that was awake."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    prompt_compute_s: float = 0.0
    """Engine's seconds for its prompts."""
    answer_compute_s: float = 0.0
    """Engine's seconds for its answers."""
    background_s: float | None = None
    """Of a batch's request, which runs in the background: seconds until the batch expires."""
    refused_tokens: int = 0
    """Of a prompt that was refused for its length; charged to the key."""
    first_token_s: float | None = None
    """Seconds from the request's arrival to its first token."""
    finished_s: float = 0.0
    finish_reasons: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    """The prompts' texts; empty unless prompts are logged."""
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """Resources to release when the request is over, however it ends."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request arrived."""
        return time.perf_counter() - self.started

    @property
    def key_name(self) -> str:
        """Name of its API key; empty on a server without keys."""
        return self.key.name if self.key else ""

    def note_error(self, error: ApiError) -> None:
        """Record an error that it is answered with."""
        if error.status == HTTPStatus.TOO_MANY_REQUESTS:
            self.refusal = error.reason

    def log_fields(self) -> dict[str, Any]:
        """Return the fields of its log line, without unknown ones."""
        fields: dict[str, Any] = {
            "request_id": self.id,
            "method": self.method,
            "path": self.path[:200],
            "status": self.status,
            "refusal": self.refusal,
            "seconds": round(self.finished_s, 6),
            "key": self.key.name if self.key else None,
            "user": self.user,
            "session": self.session,
            "model": self.model,
            "streamed": self.streamed or None,
            "wake_s": self.wake_s and round(self.wake_s, 6),
            "prompt_tokens": self.prompt_tokens or None,
            "cached_tokens": self.cached_tokens or None,
            "completion_tokens": self.completion_tokens or None,
            "compute_s": round(self.prompt_compute_s + self.answer_compute_s, 6) or None,
            "first_token_s": self.first_token_s and round(self.first_token_s, 6),
            "finish_reasons": self.finish_reasons or None,
            "prompts": self.prompts or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


def context_of(request: Request) -> RequestContext:
    """Return the record of a request in flight."""
    context: RequestContext = request.state.context
    return context


def open_context(scope: Scope) -> RequestContext:
    """Begin the record of a request and store it in the scope's state."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    sent = dict(headers)
    own_id = sent.get(b"x-request-id", b"")
    session = sent.get(b"x-session-id", b"")
    context = RequestContext(
        id=own_id.decode() if _SANE_ID.fullmatch(own_id) else new_id(),
        method=scope["method"],
        path=scope["path"],
        session=session.decode() if _SANE_ID.fullmatch(session) else None,
        traceparent=sent[b"traceparent"].decode("latin-1") if b"traceparent" in sent else None,
    )
    scope.setdefault("state", {})["context"] = context
    return context
