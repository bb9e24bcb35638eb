"""Traffic drawn from a description such as ``prompt=128..512 answer=64 rate=10``."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from ingot.errors import UsageError
from ingot.inference.capacity.traffic import PromptPart, TracedRequest, Traffic

_RANGE = re.compile(r"(\d{1,7})(?:\.\.(\d{1,7}))?")
_FORM = "write it like prompt=128..512 answer=64 rate=10, and seconds, burstiness or shared"
_NAMES = ("prompt", "answer", "rate", "seconds", "burstiness", "shared", "seed")
_MOST_REQUESTS = 100_000


def read_mix(text: str) -> Traffic:
    """Return the traffic of a description; the same text gives the same requests.

    ``prompt`` and ``answer`` are tokens, one number or ``LOW..HIGH``, drawn evenly. ``rate`` is
    requests per second. ``seconds`` is how long they arrive (120). ``burstiness`` is the shape of
    the gamma distribution of the times between them: 1 (Poisson) unless given, less is burstier,
    as in ``vllm bench serve``. ``shared`` is how many tokens all prompts begin with alike (0).

    Raises:
        UsageError: the text has another form, or a number is out of range.
    """
    fields: dict[str, str] = {}
    for part in text.split():
        name, equals, value = part.partition("=")
        if not equals or name not in _NAMES or name in fields:
            raise UsageError(f"{part[:40]!r} is not understood", where="--mix", fix=_FORM)
        fields[name] = value
    missing = [name for name in ("prompt", "answer", "rate") if name not in fields]
    if missing:
        raise UsageError(f"does not say {missing[0]}", where="--mix", fix=_FORM)
    rate = _number("rate", fields["rate"], 1e-4, 1e5)
    seconds = _number("seconds", fields.get("seconds", "120"), 1, 86_400)
    burstiness = _number("burstiness", fields.get("burstiness", "1"), 0.01, 100)
    shared, _ = _range("shared", fields.get("shared", "0"), least=0)
    prompt, answer = _range("prompt", fields["prompt"]), _range("answer", fields["answer"])
    if rate * seconds > _MOST_REQUESTS:
        raise UsageError(
            f"asks for {rate * seconds:.0f} requests, at most {_MOST_REQUESTS} are drawn",
            where="--mix",
            fix="lower seconds",
        )
    chance = random.Random(int(_number("seed", fields.get("seed", "0"), 0, 1e9)))
    requests = tuple(
        TracedRequest(at, _parts(chance.randint(*prompt), shared, number), chance.randint(*answer))
        for number, at in enumerate(_arrivals(chance, rate, seconds, burstiness))
    )
    first = requests[0].at_s
    return Traffic(
        tuple(TracedRequest(one.at_s - first, one.parts, one.answer) for one in requests),
        f"mix: {text}",
    )


def _arrivals(
    chance: random.Random, rate: float, seconds: float, burstiness: float
) -> Iterator[float]:
    now = chance.gammavariate(burstiness, 1 / (rate * burstiness))
    yield now  # one at least
    while True:
        now += chance.gammavariate(burstiness, 1 / (rate * burstiness))
        if now >= seconds:
            return
        yield now


def _parts(tokens: int, shared: int, number: int) -> tuple[PromptPart, ...]:
    alike = min(shared, tokens)
    parts = (PromptPart("shared", alike), PromptPart(f"request {number}", tokens - alike))
    return tuple(part for part in parts if part.tokens)


def _range(name: str, text: str, least: int = 1) -> tuple[int, int]:
    found = _RANGE.fullmatch(text)
    low = int(found[1]) if found else -1
    high = int(found[2] or low) if found else -1
    if found is None or not least <= low <= high:
        raise UsageError(f"{name} is {text[:40]!r}, not a range", where="--mix", fix=_FORM)
    return low, high


def _number(name: str, text: str, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not low <= number <= high:
        raise UsageError(
            f"{name} is {text[:40]!r}, not a number from {low:g} to {high:g}",
            where="--mix",
            fix=_FORM,
        )
    return number
