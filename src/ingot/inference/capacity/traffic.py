"""Traffic: requests with their times, and the three formats of files that it is read from."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ingot.errors import UsageError
from ingot.files import read_regular

_LARGEST_FILE = 1 << 30
_MOST_REQUESTS = 1_000_000
_MOST_TOKENS = 1 << 24
_HASHED_TOKENS = 512
"""Tokens that one of Mooncake's ``hash_ids`` stands for."""
_TOKEN_MASK = (1 << 31) - 1


@dataclass(frozen=True)
class PromptPart:
    """Tokens of a prompt: the first ones of a text that other prompts may also begin with."""

    text: str
    """Names the text."""
    tokens: int


@dataclass(frozen=True)
class TracedRequest:
    """One request, without its words."""

    at_s: float
    """Arrival, in seconds from the first one's."""
    parts: tuple[PromptPart, ...]
    """Of its prompt; equal parts at the beginning are a shared prefix."""
    answer: int
    """Tokens of its answer, at least one."""
    tenant: str = ""
    """Name of its API key."""

    @property
    def prompt(self) -> int:
        """Tokens of its prompt."""
        return sum(part.tokens for part in self.parts)

    @cached_property
    def token_ids(self) -> tuple[int, ...]:
        """Made-up tokens of the prompt: equal where prompts share a prefix, else different."""
        pieces = [_first_id(part.text) + np.arange(part.tokens) for part in self.parts]
        ids: list[int] = (np.concatenate(pieces) & _TOKEN_MASK).tolist()
        return tuple(ids)


@dataclass(frozen=True)
class Traffic:
    """Requests in the order of their arrival."""

    requests: tuple[TracedRequest, ...]
    source: str
    """Where they are from, for display."""
    skipped: int = 0
    """Lines of the file that were not requests that generated."""

    @property
    def seconds(self) -> float:
        """Time over which they arrive: that of all gaps and one more of mean length."""
        count = len(self.requests)
        last = self.requests[-1].at_s
        return last * count / (count - 1) if count > 1 and last > 0 else 1.0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.requests) / self.seconds

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(request.prompt for request in self.requests)

    @property
    def answer_tokens(self) -> int:
        """Tokens of all answers."""
        return sum(request.answer for request in self.requests)


def read_traffic(path: Path) -> Traffic:
    """Read traffic from a file, whose format is found from its first object.

    * JSON lines of our own log (``server.log_requests``): a request's end, duration and tokens.
    * JSON lines with ``timestamp`` in ms, ``input_length``, ``output_length`` and perhaps
      ``hash_ids``, each for 512 tokens: the format of the Mooncake traces.
    * One object with ``start_times``, ``input_lens`` and ``output_lens``: the result of
      ``vllm bench serve --save-result --save-detailed``.

    Raises:
        UsageError: the file has another form, or holds no request that generated.
    """
    data = read_regular(path, UsageError, max_bytes=_LARGEST_FILE)
    lines = data.splitlines()
    whole = _object(data) if len(lines) <= 1 or lines[0].strip() == b"{" else None
    if whole is not None and "input_lens" in whole:
        return _sorted(_of_vllm(whole, path), f"{path}: vllm bench serve", 0)
    objects = [found for line in lines if (found := _object(line)) is not None]
    if any("input_length" in one for one in objects):
        traced = [_of_mooncake(one, number, path) for number, one in enumerate(objects)]
        return _sorted(traced, f"{path}: Mooncake trace", len(lines) - len(traced))
    logged = [one for one in objects if one.get("message") == "request" and _generated(one)]
    if not logged:
        raise UsageError(
            "holds no request that generated",
            where=path,
            fix="give a log of ingot serve (server.log_requests=true), a result of vllm bench "
            "serve --save-detailed, or a trace with timestamp, input_length and output_length",
        )
    return _sorted(_of_log(logged, path), f"{path}: log", len(lines) - len(logged))


def _of_log(lines: Iterable[Mapping[str, Any]], path: Path) -> list[TracedRequest]:
    """Return the requests of our own log, whose lines are written as they end.

    A session's prompts continue each other. Of others the log says how many tokens were cached:
    these are taken to be the beginning of one text for each key, which its first prompt is.
    """
    found: list[TracedRequest] = []
    known: set[str] = set()
    with_arrival = sorted(
        ((_arrival(line, path), number, line) for number, line in enumerate(lines)),
        key=lambda one: one[:2],
    )
    for arrival, number, line in with_arrival:
        key = str(line.get("key", ""))
        prompt = _count(line["prompt_tokens"], "prompt_tokens", path)
        cached = min(_count(line.get("cached_tokens", 0), "cached_tokens", path), prompt)
        own = PromptPart(f"request {number}", prompt)
        if "session" in line:
            own = PromptPart(f"session {key}/{line['session']}", prompt)
            parts: tuple[PromptPart, ...] = (own,)
        elif key not in known:
            parts = (PromptPart(f"key {key}", prompt),)
        elif cached:
            parts = (
                PromptPart(f"key {key}", cached),
                PromptPart(f"request {number}", prompt - cached),
            )
        else:
            parts = (own,)
        known.add(key)
        answer = _count(line["completion_tokens"], "completion_tokens", path)
        found.append(TracedRequest(arrival, parts, answer, key))
    return found


def _arrival(line: Mapping[str, Any], path: Path) -> float:
    try:
        ended = datetime.datetime.fromisoformat(str(line["time"]))
        return ended.timestamp() - float(line["seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError("has a request without its time", where=path, fix="mend it") from error


def _of_mooncake(one: Mapping[str, Any], number: int, path: Path) -> TracedRequest:
    prompt = _count(one.get("input_length"), "input_length", path)
    answer = _count(one.get("output_length"), "output_length", path)
    hashes = one.get("hash_ids") or []
    if not isinstance(hashes, list) or len(hashes) * _HASHED_TOKENS >= prompt + _HASHED_TOKENS:
        raise UsageError(f"line {number + 1}: hash_ids do not fit", where=path, fix="mend it")
    parts, left = [], prompt
    for index, block in enumerate(hashes):
        size = min(_HASHED_TOKENS, left)
        parts.append(PromptPart(f"block {index} {block}", size))
        left -= size
    if left:
        parts.append(PromptPart(f"request {number}", left))
    at_ms = _number(one.get("timestamp"), "timestamp", path)
    return TracedRequest(at_ms / 1000, tuple(parts), max(answer, 1))


def _of_vllm(whole: Mapping[str, Any], path: Path) -> list[TracedRequest]:
    columns = [whole.get(name) for name in ("start_times", "input_lens", "output_lens")]
    lengths = {len(column) for column in columns if isinstance(column, list)}
    if len(lengths) != 1 or not all(isinstance(column, list) for column in columns):
        raise UsageError(
            "has no start_times, input_lens and output_lens of one length",
            where=path,
            fix="save it with --save-result --save-detailed",
        )
    return [
        TracedRequest(
            _number(start, "start_times", path),
            (PromptPart(f"request {number}", _count(prompt, "input_lens", path)),),
            _count(answer, "output_lens", path),
        )
        for number, (start, prompt, answer) in enumerate(zip(*map(list, columns), strict=True))  # type: ignore[arg-type]
        if prompt and answer  # a request that failed has none
    ]


def _sorted(found: Iterable[TracedRequest], source: str, skipped: int) -> Traffic:
    """Return traffic whose first request arrives at 0."""
    ordered = sorted(found, key=lambda request: request.at_s)
    if not ordered:
        raise UsageError("holds no request that generated", where=source)
    if len(ordered) > _MOST_REQUESTS:
        raise UsageError(
            f"holds {len(ordered)} requests, at most {_MOST_REQUESTS} are replayed",
            where=source,
            fix="cut it",
        )
    first = ordered[0].at_s
    return Traffic(
        tuple(
            TracedRequest(one.at_s - first, one.parts, one.answer, one.tenant) for one in ordered
        ),
        source,
        skipped,
    )


def _object(data: bytes) -> dict[str, Any] | None:
    """Return a JSON object; None where this is something else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _generated(line: Mapping[str, Any]) -> bool:
    return bool(line.get("prompt_tokens") and line.get("completion_tokens"))


def _number(value: object, name: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise UsageError(f"{name} is {str(value)[:40]!r}, not a number", where=path, fix="mend it")
    return float(value)


def _count(value: object, name: str, path: Path) -> int:
    number = _number(value, name, path)
    if number != int(number) or not 0 <= number <= _MOST_TOKENS:
        raise UsageError(f"{name} is {value}, not a count of tokens", where=path, fix="mend it")
    return int(number)


def _first_id(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
