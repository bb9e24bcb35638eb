"""Compiler of JSON schemas, regular expressions and grammars, by llguidance.

A grammar is used only if a separate process compiles it and follows it at random within
limits of size, time, memory and the library's own measures of work. A grammar that crashes,
hangs or takes too much there is refused, and nothing else notices.
"""

from __future__ import annotations

import json
import threading
from typing import Any, Literal

from ingot.errors import UsageError
from ingot.inference.request import grammar_worker as worker
from ingot.inference.request.grammar_process import ChildDied, GrammarProcess
from ingot.inference.request.grammar_sequences import FollowedGrammar, GrammarFollower
from ingot.inference.request.json_schema.keywords import Schema
from ingot.inference.request.json_schema.prepare import prepare_schema
from ingot.model.tokenizer import Tokenizer

GrammarKind = Literal["json_schema", "json_object", "regex", "grammar"]

MAX_GRAMMAR_BYTES = 64 << 10
_MAX_PREPARED_BYTES = 4 * MAX_GRAMMAR_BYTES  # rewriting may repeat parts of a schema
_MEMORY = 96 << 20
_MAX_SIZE = 16 << 20
_SECONDS = 1.0
_MAX_COMPILE_S = 0.2  # an ordinary schema takes 5 ms; the engine waits once for each
_MOST_COMPILING = 2
_PATIENCE_S = 10.0
SPACE = r"[\x20\x0A\x0D\x09]{0,16}"
"""White space between the parts of JSON; bounded, as a model must not write it forever."""


class GrammarCompiler:
    """Compiles grammars for one tokenizer, a few at once; thread-safe.

    Args:
        tokenizer: The model's own.
        seconds: Most processor time for one grammar.
        memory: Most bytes for one, while it is compiled.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, seconds: float = _SECONDS, memory: int = _MEMORY
    ) -> None:
        self._seconds, self._memory = seconds, memory
        self._process = GrammarProcess(tokenizer)
        self._follower = GrammarFollower(self._process)
        self._compiling = threading.BoundedSemaphore(_MOST_COMPILING)

    def compile(self, kind: GrammarKind, text: str = "", *, strict: bool = True) -> FollowedGrammar:
        """Return the grammar that a request may carry.

        Args:
            kind: What ``text`` is: a JSON schema, nothing (any JSON object), a regular
                expression as Rust's ``regex`` writes it, or a grammar as Lark writes it.
            text: The schema, expression or grammar.
            strict: Refuse a JSON schema of which the answer could break a part.

        Raises:
            UsageError: it is malformed, too large, or takes too long; ``where`` is its kind.
            ResourceError: the machine cannot start a process.
        """
        if len(text.encode(errors="replace")) > MAX_GRAMMAR_BYTES:
            raise _too_large(kind)
        source = library_form(kind, text, strict=strict)
        if not self._compiling.acquire(timeout=_PATIENCE_S):
            raise UsageError("has to wait too long", where=kind, fix="try again")
        try:
            size, seconds, spent = self._try(kind, source)
        finally:
            self._compiling.release()
        if size > _MAX_SIZE:
            raise _too_costly(kind, f"takes {size >> 20} MiB, more than {_MAX_SIZE >> 20}")
        if seconds > _MAX_COMPILE_S:
            most = f"{_MAX_COMPILE_S * 1e3:.0f} ms"
            raise _too_costly(kind, f"takes {seconds * 1e3:.0f} ms to compile, more than {most}")
        return FollowedGrammar(self._follower, source, size=size, cost_s=spent + seconds)

    def compiled_elsewhere(self, source: bytes) -> FollowedGrammar:
        """Return a grammar that another compiler has found to be within its limits.

        Args:
            source: What is in its ``FollowedGrammar.source``.
        """
        return FollowedGrammar(self._follower, source, size=0, cost_s=0.0)

    def close(self) -> None:
        """End the processes; answers that still follow a grammar fail."""
        self._process.close()
        self._follower.close()

    def _try(self, kind: GrammarKind, source: bytes) -> tuple[int, float, float]:
        """Return a grammar's bytes, and its seconds for compiling alone and in all."""
        child = self._process.child(memory=self._memory, seconds=self._seconds)
        try:
            flags, data = child.ask(worker.TRY, data=source)
        except ChildDied as error:
            limits = f"{self._seconds:g} s and {self._memory >> 20} MiB"
            raise _too_costly(kind, f"does not compile within {limits}") from error
        finally:
            child.close()
        if flags == worker.REFUSED:
            reason = data.decode(errors="replace")
            raise UsageError(reason, where=kind, fix="correct or simplify it")
        size, seconds, spent = worker.TRIED.unpack(data)
        return size, seconds, spent


def library_form(kind: GrammarKind, text: str, *, strict: bool = True) -> bytes:
    """Return a grammar in the worker's form.

    Raises:
        UsageError: the text is not a JSON schema that can be enforced, or is not Unicode.
    """
    if kind in {"json_schema", "json_object"}:
        schema = (
            {"type": "object"} if kind == "json_object" else prepare_schema(text, strict=strict)
        )
        text = json.dumps({"grammars": [{"json_schema": with_space(schema)}]})
    form = worker.REGEX if kind == "regex" else worker.GRAMMAR
    try:
        source = form + text.encode()
    except UnicodeEncodeError as error:
        raise UsageError("holds half a surrogate pair", where=kind, fix="remove it") from error
    if len(source) > _MAX_PREPARED_BYTES:
        raise _too_large(kind)
    return source


def with_space(schema: Schema) -> dict[str, Any]:
    """Return a schema document with the library's options for white space."""
    whole = schema if isinstance(schema, dict) else {"anyOf": [schema]}
    return whole | {"x-guidance": {"whitespace_pattern": SPACE}}


def _too_costly(kind: GrammarKind, what: str) -> UsageError:
    return UsageError(what, where=kind, fix="simplify it")


def _too_large(kind: GrammarKind) -> UsageError:
    return UsageError(
        f"is larger than {MAX_GRAMMAR_BYTES} bytes", where=kind, fix="give a smaller one"
    )
