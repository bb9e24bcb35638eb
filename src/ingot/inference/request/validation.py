"""Refusing sampling parameters that make no sense, by name."""

from __future__ import annotations

from ingot.errors import UsageError
from ingot.inference.request.grammar import Grammar
from ingot.inference.request.sequence import SamplingParams

MAX_TEMPERATURE = 10.0
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 1_000
MAX_LOGPROBS = 20
MAX_BIASES = 1_024
_MAX_BIAS = 100.0
_MAX_PENALTY = 2.0
_MAX_REPETITION = 10.0
_MAX_COUNT = (1 << 31) - 1
_MAX_SEED = (1 << 64) - 1


def validate(params: SamplingParams) -> None:
    """Check every field.

    Raises:
        UsageError: a field of the wrong type or out of its range; ``where`` is its name.
    """
    _whole("max_tokens", params.max_tokens, 0 if params.prompt_logprobs is not None else 1)
    _filters(params)
    _penalties(params)
    _logit_bias(params.logit_bias)
    if params.seed is not None:
        _whole("seed", params.seed, 0, _MAX_SEED)
    for name, count in (
        ("logprobs", params.logprobs),
        ("prompt_logprobs", params.prompt_logprobs),
    ):
        if count is not None:
            _whole(name, count, 0, MAX_LOGPROBS)
    if not isinstance(params.ignore_eos, bool):
        raise UsageError(_shown(params.ignore_eos), where="ignore_eos", fix="give true or false")
    _stop(params.stop)
    _stop_token_ids(params.stop_token_ids)
    _grammar(params)


def _filters(params: SamplingParams) -> None:
    _real("temperature", params.temperature, 0.0, MAX_TEMPERATURE)
    for name in ("top_p", "typical_p"):
        value = getattr(params, name)
        _real(name, value, 0.0, 1.0)
        if value == 0:
            raise UsageError("0 keeps no token", where=name, fix="give a number above 0, up to 1")
    _whole("top_k", params.top_k, 0)
    _real("min_p", params.min_p, 0.0, 1.0)


def _penalties(params: SamplingParams) -> None:
    _real("repetition_penalty", params.repetition_penalty, 0.0, _MAX_REPETITION)
    if params.repetition_penalty < 1 / _MAX_REPETITION:
        raise UsageError(
            _shown(params.repetition_penalty),
            where="repetition_penalty",
            fix=f"give a number from {1 / _MAX_REPETITION:g} to {_MAX_REPETITION:g}",
        )
    _real("presence_penalty", params.presence_penalty, -_MAX_PENALTY, _MAX_PENALTY)
    _real("frequency_penalty", params.frequency_penalty, -_MAX_PENALTY, _MAX_PENALTY)


def _logit_bias(pairs: object) -> None:
    """Refuse anything but a tuple of (token id, number), each id once."""
    if not isinstance(pairs, tuple) or len(pairs) > MAX_BIASES:
        raise UsageError(
            "is not a tuple of a few pairs", where="logit_bias", fix=f"give at most {MAX_BIASES}"
        )
    seen = set()
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise UsageError(_shown(pair), where="logit_bias", fix="give pairs of token and bias")
        token_id, bias = pair
        _whole("logit_bias", token_id, 0)
        _real("logit_bias", bias, -_MAX_BIAS, _MAX_BIAS)
        seen.add(token_id)
    if len(seen) < len(pairs):
        raise UsageError("names a token twice", where="logit_bias", fix="give each token once")


def _grammar(params: SamplingParams) -> None:
    if params.grammar is None:
        return
    if not isinstance(params.grammar, Grammar):
        raise UsageError(_shown(params.grammar), where="grammar", fix="give one that was compiled")
    if params.ignore_eos:
        raise UsageError(
            "would go on past the end of what the grammar allows",
            where="ignore_eos",
            fix="leave it out where an answer follows a grammar",
        )


def _stop(stop: object) -> None:
    """Refuse anything but a tuple of a few short texts."""
    if not isinstance(stop, tuple) or len(stop) > MAX_STOPS:
        raise UsageError(
            "is not a tuple of a few texts", where="stop", fix=f"give at most {MAX_STOPS}"
        )
    for text in stop:
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_STOP_CHARACTERS:
            raise UsageError(
                _shown(text),
                where="stop",
                fix=f"give texts of 1 to {MAX_STOP_CHARACTERS} characters",
            )


def _stop_token_ids(ids: object) -> None:
    """Refuse anything but a tuple of a few token ids."""
    if not isinstance(ids, tuple) or len(ids) > MAX_STOPS:
        raise UsageError(
            "is not a tuple of a few token ids",
            where="stop_token_ids",
            fix=f"give at most {MAX_STOPS}",
        )
    for token_id in ids:
        _whole("stop_token_ids", token_id, 0)


def _whole(name: str, value: object, low: int, high: int = _MAX_COUNT) -> None:
    """Refuse anything but a whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(_shown(value), where=name, fix=f"give a whole number from {low} to {high}")


def _real(name: str, value: object, low: float, high: float) -> None:
    """Refuse anything but a number in [low, high]; NaN is in no range."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and low <= value <= high):  # type: ignore[operator]
        raise UsageError(_shown(value), where=name, fix=f"give a number from {low:g} to {high:g}")


def _shown(value: object) -> str:
    """Name a bad value without letting it flood the message."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _MAX_SEED:
        return "a whole number too large to be meant"
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:40] + '…'} is not allowed"
