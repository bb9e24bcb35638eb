"""Configuration of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ingot.errors import UsageError
from ingot.inference.request.objective import Objective, parse_objective
from ingot.inference.request.params import Timeout

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]


def _states_objective(text: str) -> str:
    """Return a text that states an objective, or is empty.

    Raises:
        ValueError: it states none.
    """
    if text:
        try:
            parse_objective(text)
        except UsageError as error:
            raise ValueError(f"{error.what}; {error.fix}") from error
    return text


ObjectiveText = Annotated[str, AfterValidator(_states_objective)]
"""An objective such as ``ttft=1s,itl=50ms,p=99``; empty states none."""


class ServerConfig(BaseModel):
    """Address, limits and timeouts of the server."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    host: str = "127.0.0.1"
    """Address or host name to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 picks a free one."""
    uds: Path | None = None
    """Unix socket to listen on instead, which its owner and group may use."""
    root_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$", max_length=200)] = ""
    """Path under which a proxy offers the server, such as ``/ingot``."""
    tls_cert: Path | None = None
    """PEM file of the certificate, and those that vouch for it; unset speaks plain HTTP."""
    tls_key: Path | None = None
    """PEM file of the certificate's key; unset looks in ``tls_cert``."""
    allow_public: bool = False
    """Allow an address that other machines can reach although no API keys are required."""
    open_admin: bool = False
    """With ``allow_public`` and no API keys: let everyone list and cancel all requests, and load,
    quantize and unload models."""
    allowed_hosts: tuple[str, ...] = ()
    """Additional host names that clients may use; IP addresses are always allowed."""
    cors_origins: tuple[str, ...] = ()
    """Origins of other web pages that may call the API."""
    api_keys: Path | None = None
    """TOML file of accepted API keys, made with ``ingot new-key``; unset requires no key."""
    generation_config: Literal["auto", "none"] = "auto"
    """Where a request does not say how to sample: "auto" follows the model's own defaults, those
    of its ``generation_config.json`` (temperature, top_p, top_k, min_p, typical_p and
    repetition_penalty); "none" ignores them."""
    model_name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Name of the first model in the API; unset uses the name of the ingot's folder."""
    ingots_folder: Path | None = None
    """Folder of ingots that may be loaded by their names while the server runs: with a key with
    ``admin``, or by every client of a private server without keys."""
    max_models: _Count = 16
    """Most models served at once; one more is refused until another is unloaded."""

    idle_unload_s: _Seconds | None = None
    """Seconds without a request after which a model's memory is released until the next one, which
    waits while the ingot is opened and checked again; unset keeps it."""

    objective: ObjectiveText = ""
    """Latency that answers are held to, such as ``ttft=1s,itl=50ms,p=99``; empty sets none."""
    model_objectives: dict[str, ObjectiveText] = {}
    """The same by the name of the model, in place of ``objective``."""

    header_timeout_s: _Seconds = 10.0
    """Seconds a client may take to send the head of a request."""
    body_timeout_s: _Seconds = 30.0
    """Seconds a client may take to send the body of a request."""
    write_timeout_s: _Seconds = 60.0
    """Seconds a client may leave a full send buffer unread."""
    request_timeout_s: Timeout = 600.0
    """Seconds a request may take, time in the queue included."""
    drain_timeout_s: _Seconds = 30.0
    """Seconds that a stopping server gives running requests to finish."""

    max_connections: _Count = 10_000
    """Most open connections; beyond, one that waits for a request is closed for a new one."""
    max_head_bytes: _Count = 32_768
    """Largest head of a request in bytes: request line and headers, chunk extensions, trailers."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 1_000_000
    """Largest body of a request in bytes."""
    max_body_entries: _Count = 131_072
    """Most values in a body, estimated: commas, quotation marks and, fourfold, opening brackets."""
    max_open_body_bytes: _Count = 256_000_000
    """Most bytes in the bodies of all open requests; more are refused with status 429."""
    max_answer_entries: _Count = 1_048_576
    """Most log-probabilities, or numbers of embeddings, that an answer may hold at once."""
    max_sequences: _Count = 128
    """Most sequences in one request: prompts times ``n`` or ``best_of``."""
    max_open_requests: _Count = 8192
    """Most requests running and waiting; more are refused with status 429."""
    max_open_tokens: _Count = 16_000_000
    """Most tokens running and waiting, prompts plus ``max_tokens``; more are refused with 429."""

    response_store_bytes: Annotated[int, Field(ge=0)] = 67_108_864
    """Memory for stored responses (``/v1/responses``), of all keys together; 0 stores none."""
    response_lifetime_s: _Seconds = 3600.0
    """Seconds that a stored response is kept after it was last used."""

    batches: Path | None = None
    """Folder for uploaded files and batches (``/v1/files`` and ``/v1/batches``), made if it is
    missing; unset offers neither."""
    batch_requests: _Count = 64
    """Most requests of batches that are worked on at once, of all keys together."""
    batch_lines: _Count = 50_000
    """Most requests in one batch, and most lines of its input, blank ones included."""
    batch_file_bytes: Annotated[int, Field(ge=1024)] = 209_715_200
    """Largest file that may be uploaded, in bytes."""
    batch_key_bytes: Annotated[int, Field(ge=1024)] = 2_147_483_648
    """Bytes of files, results included, at which one key may add no more."""
    batch_total_bytes: Annotated[int, Field(ge=1024)] = 17_179_869_184
    """Bytes of files, results included, at which nobody may add more."""
    batch_key_files: _Count = 1000
    """Most files that one key may keep; results are always kept."""
    batch_key_batches: _Count = 16
    """Most batches of one key that have not ended."""

    log_file: Path | None = None
    """File to append log lines to; unset logs to stderr."""
    log_requests: bool = False
    """Log one line for each request."""
    log_prompts: bool = False
    """Include prompts in those lines."""
    otlp_endpoint: str | None = None
    """Address to send traces to over OTLP/HTTP, such as ``http://localhost:4318/v1/traces``."""

    def objective_for(self, model: str) -> Objective | None:
        """Return the objective of a model's answers; None if there is none."""
        text = self.model_objectives.get(model, self.objective)
        return parse_objective(text) if text else None
