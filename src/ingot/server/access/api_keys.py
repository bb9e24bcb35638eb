"""API keys: a file of their hashes, and each key's limits per minute.

The file is TOML that nobody but its owner may write; it never contains a key itself::

    [[key]]
    name = "alice"
    sha256 = "…"                  # of the key's text
    requests_per_minute = 600     # optional, as is the next
    tokens_per_minute = 100000    # prompts and answers together
    priority = 0                  # against other keys: lower runs first
    objective = "ttft=1s"         # optional: in place of the server's; "" for none
    admin = false                 # whether it may change what is served

``ingot new-key alice`` makes a key, shows it once on stderr, and prints its entry.
Keys have 256 random bits, so a plain hash is enough: there is
nothing to guess that salting or slow hashing would protect.

A server reads the file again on SIGHUP. Whatever is not in it then is revoked: without
entries, or without the file, no key is accepted.
"""

from __future__ import annotations

import hashlib
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingot.errors import UsageError, from_validation
from ingot.server.config import ObjectiveText
from ingot.server.http.errors import ApiError
from ingot.settings import read_toml

_PerMinute = Annotated[int, Field(ge=1, lt=2**53)]


class Key(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._@-]{1,80}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    requests_per_minute: _PerMinute | None = None
    tokens_per_minute: _PerMinute | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Orders its requests against those of other keys; a request's own ``priority`` does not."""
    objective: ObjectiveText | None = None
    """Latency that its answers are held to, in place of the server's; empty sets none."""
    admin: bool = False


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    key: list[Key] = []


class Allowance:
    """Token bucket that is charged after use and refills steadily.

    A request that uses more than is left puts the bucket into debt, and the next one waits
    until that is refilled. So use over time is exact, whatever one request costs.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = per_minute
        self._left = float(per_minute)
        self._clock = clock
        self._filled = clock()

    def wait_s(self) -> float:
        """Return the seconds until something is left; 0 if something is."""
        now = self._clock()
        self._left = min(self._limit, self._left + (now - self._filled) * self._limit / 60)
        self._filled = now
        return max(0.0, (1 - self._left) * 60 / self._limit)

    def use(self, count: int) -> None:
        """Charge the bucket."""
        self._left -= count


class Keys:
    """The keys of a file, and what each may still use.

    Raises:
        UsageError: the file is missing, unsafe or malformed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys = _read(path)
        if not self._keys:
            raise UsageError(
                "has no keys", where=path, fix=f"make one with: ingot new-key NAME >> {path}"
            )
        self._requests: dict[str, Allowance] = {}
        self._tokens: dict[str, Allowance] = {}

    def reload(self) -> None:
        """Read the file again; keys with unchanged limits keep what they have used.

        A file that is gone has no keys, so that none is accepted.

        Raises:
            UsageError: the file is not good; the keys read before stay in force.
        """
        before, self._keys = self._keys, _read(self._path) if self._path.exists() else {}
        same = {key.name for key in self._keys.values() if before.get(key.sha256) == key}
        self._requests = {name: held for name, held in self._requests.items() if name in same}
        self._tokens = {name: held for name, held in self._tokens.items() if name in same}

    def find(self, presented: str) -> Key | None:
        """Return the entry of a key; None if the file has none.

        The look-up is by hash, so its duration reveals nothing about any key.
        """
        return self._keys.get(hashlib.sha256(presented.encode()).hexdigest())

    def named(self, name: str) -> Key | None:
        """Return the entry of this name; None if the file has none."""
        return next((key for key in self._keys.values() if key.name == name), None)

    def admit(self, key: Key) -> None:
        """Charge one request to a key.

        Raises:
            ApiError: 429 if the key has used up its limit per minute.
        """
        requests = _allowance(self._requests, key.name, key.requests_per_minute)
        tokens = _allowance(self._tokens, key.name, key.tokens_per_minute)
        for kind, allowance in (("requests", requests), ("tokens", tokens)):
            if allowance and (wait := allowance.wait_s()) > 0:
                raise ApiError(
                    429,
                    f"this key has used up its {kind} per minute; try again in {wait:.1f} s",
                    code="rate_limit_exceeded",
                    headers={"retry-after": str(max(1, -int(-wait // 1)))},
                )
        if requests:
            requests.use(1)

    def charge(self, key: Key, tokens: int) -> None:
        """Charge prompt or answer tokens to a key."""
        if allowance := _allowance(self._tokens, key.name, key.tokens_per_minute):
            allowance.use(tokens)


def _allowance(held: dict[str, Allowance], name: str, per_minute: int | None) -> Allowance | None:
    if per_minute is None:
        return None
    if name not in held:
        held[name] = Allowance(per_minute)
    return held[name]


def _read(path: Path) -> dict[str, Key]:
    """Return the file's keys by hash."""
    _check_permissions(path)
    try:
        entries = _File.model_validate(read_toml(path, UsageError)).key
    except ValidationError as error:
        raise from_validation(
            UsageError,
            error,
            where=path,
            what="is not a valid file of API keys",
            fix="make entries with: ingot new-key NAME",
            show_input=False,  # it may be a key
        ) from error
    keys = {key.sha256: key for key in entries}
    if len(keys) < len(entries) or len({key.name for key in entries}) < len(entries):
        raise UsageError("names a key twice", where=path, fix="give each its own name and hash")
    return keys


def _check_permissions(path: Path) -> None:
    """Refuse a file to which others could add a key of their own."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # reading it says why
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"may be written by others than its owner (mode {stat.S_IMODE(mode):04o})",
            where=path,
            fix=f"run: chmod go-w {path}",
        )


def make_key(name: str) -> tuple[str, str]:
    """Make a key; return it and its entry for the file.

    Raises:
        UsageError: a name that the file cannot hold.
    """
    key = f"ingot-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    try:
        Key(name=name, sha256=digest)
    except ValidationError as error:
        raise UsageError(
            "is not a name for a key", where=name[:80], fix="use letters, digits and . _ @ -"
        ) from error
    return key, f'[[key]]\nname = "{name}"\nsha256 = "{digest}"\n'
