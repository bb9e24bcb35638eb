"""Verification of the weights in a running server's memory."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import orjson

from ingot.artifact import Manifest
from ingot.errors import ArtifactError, ServeError, UsageError

_TIMEOUT_S = 600.0
_MAX_ANSWER_BYTES = 64 << 20


def verify_live(url: str, model: str, manifest: Manifest, key: str | None) -> None:
    """Have a server hash the weights in its memory, and compare with a manifest held here.

    Args:
        url: Where the server answers, such as ``http://127.0.0.1:8000``.
        model: What it calls the model.
        manifest: What the ingot was sealed with; the server's own is not trusted.
        key: The API key to show; None shows none.

    Raises:
        UsageError: the address is not an HTTP address.
        ServeError: the server does not answer, or refuses.
        ArtifactError: names the first tensor that differs.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise UsageError("is not the address of a server", where=url, fix="write http://HOST:PORT")
    said = _ask(url, model, key)
    tensors = said.get("tensors")
    if not isinstance(tensors, dict):
        raise ServeError("did not say what its weights hash to", where=url)
    for name, record in manifest.tensors.items():
        if tensors.get(name) != record.sha256:
            raise ArtifactError(
                f"tensor {name} in the server's memory is not the one that was sealed", where=url
            )
    if further := tensors.keys() - manifest.tensors.keys():
        raise ArtifactError(f"serves a tensor that was not sealed: {min(further)[:80]}", where=url)


def _ask(url: str, model: str, key: str | None) -> dict[str, Any]:
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    request = urllib.request.Request(  # noqa: S310 (the scheme was checked)
        f"{url.rstrip('/')}/admin/verify", json.dumps({"model": model}).encode(), headers
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            said = orjson.loads(answer.read(_MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        raise ServeError(_message(error), where=url) from error
    except (OSError, ValueError) as error:
        raise ServeError(f"does not answer as an Ingot server does ({error})", where=url) from error
    if not isinstance(said, dict):
        raise ServeError("does not answer as an Ingot server does", where=url)
    return said


def _message(error: urllib.error.HTTPError) -> str:
    """Return what a server's refusal says."""
    try:
        return str(orjson.loads(error.read(1 << 16))["error"]["message"])[:500]
    except (OSError, ValueError, KeyError, TypeError):
        return f"answered with status {error.code}"
