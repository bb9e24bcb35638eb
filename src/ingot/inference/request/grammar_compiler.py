"""Compiler of JSON schemas, regular expressions and grammars, by llguidance.

A grammar is used only if it compiles within limits of size, time and the library's own
measures of work. Its cost per step is limited too; a sequence that exceeds it ends, and
no other sequence is affected.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from functools import partial
from typing import Literal

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from numpy.typing import NDArray

from ingot.errors import ServeError, UsageError
from ingot.inference.request.grammar import Grammar, GrammarState
from ingot.model.tokenizer import Tokenizer
from ingot.process import thread_with_stack

GrammarKind = Literal["json_schema", "json_object", "regex", "grammar"]

MAX_GRAMMAR_BYTES = 64 << 10
_COMPILE_TIMEOUT_S = 5.0
_MOST_COMPILING = 2
_STACK_BYTES = 256 << 20
_ANY_OBJECT = '{"type": "object"}'
_SPACE = r"[\x20\x0A\x0D\x09]{0,16}"  # bounded: a model must not write white space forever
_MESSAGE_CHARACTERS = 300


def _limits() -> LLParserLimits:
    """Return the limits of a grammar: about 20 ms to start, and 5 ms per step.

    A state of the lexer takes 1 to 2 kB.
    """
    return LLParserLimits(
        max_items_in_row=300,
        initial_lexer_fuel=1_000_000,
        step_lexer_fuel=50_000,
        step_max_items=20_000,
        max_lexer_states=20_000,
        max_grammar_size=100_000,
        verbose_errors=False,
    )


class GrammarCompiler:
    """Compiles grammars for one tokenizer, a few at once; thread-safe.

    Args:
        tokenizer: The model's own.
        timeout_s: Most seconds for one grammar, time in the queue included.
    """

    def __init__(self, tokenizer: Tokenizer, *, timeout_s: float = _COMPILE_TIMEOUT_S) -> None:
        self._tokenizer = tokenizer
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._backend: LLTokenizer | None = None
        self._compiling = threading.BoundedSemaphore(_MOST_COMPILING)

    def compile(self, kind: GrammarKind, text: str = "") -> Grammar:
        """Return the grammar that a request may carry.

        Args:
            kind: What ``text`` is: a JSON schema, nothing (any JSON object), a regular
                expression as Rust's ``regex`` writes it, or a grammar as Lark writes it.
            text: The schema, expression or grammar.

        Raises:
            UsageError: it is malformed, too large, or takes too long; ``where`` is its kind.
        """
        if len(text.encode(errors="replace")) > MAX_GRAMMAR_BYTES:
            raise UsageError(
                f"is larger than {MAX_GRAMMAR_BYTES} bytes", where=kind, fix="give a smaller one"
            )
        deadline = time.monotonic() + self._timeout_s
        if not self._compiling.acquire(timeout=self._timeout_s):
            raise self._too_slow(kind)
        result: Future[Grammar] = Future()
        # The library recurses along chains of rules: 3,000 of them, in 50 kB of text, overran
        # the usual 8 MB and ended the process.
        work = partial(self._run, result, kind, text)
        thread_with_stack(_STACK_BYTES, work, name="ingot-grammar")
        try:
            return result.result(max(deadline - time.monotonic(), 0.0))
        except TooLate:
            raise self._too_slow(kind) from None

    def _run(self, result: Future[Grammar], kind: GrammarKind, text: str) -> None:
        """Compile in a thread of its own; the caller may have stopped waiting."""
        try:
            result.set_result(self._compile(kind, text))
        except BaseException as error:
            result.set_exception(error)
        finally:
            self._compiling.release()

    def _too_slow(self, kind: GrammarKind) -> UsageError:
        return UsageError(
            f"does not compile within {self._timeout_s:g} s", where=kind, fix="simplify it"
        )

    def _compile(self, kind: GrammarKind, text: str) -> Grammar:
        try:
            source = _library_form(kind, text)
        except ValueError as error:
            raise UsageError(_short(str(error)), where=kind, fix="correct it") from error
        matcher = LLMatcher(self._library_tokenizer(), source, log_level=0, limits=_limits())
        if matcher.is_error():
            raise UsageError(_short(matcher.get_error()), where=kind, fix="correct or simplify it")
        grammar = _CompiledGrammar(matcher)
        try:
            grammar.start().mask()
        except ServeError as error:
            raise UsageError(error.what, where=kind, fix="correct or simplify it") from error
        return grammar

    def _library_tokenizer(self) -> LLTokenizer:
        with self._lock:
            if self._backend is None:
                tokenizer = self._tokenizer
                self._backend = LLTokenizer(
                    tokenizer.to_json(), n_vocab=tokenizer.vocab_size, eos_token=tokenizer.eos_id
                )
            return self._backend


class _CompiledGrammar(Grammar):
    """A matcher that is only ever copied."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def start(self) -> GrammarState:
        return _MatcherState(self._matcher.deep_copy())


class _MatcherState(GrammarState):
    """A matcher of one sequence."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def mask(self) -> NDArray[np.uint32]:
        mask = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint32)
        self._check()
        if not mask.any():
            raise ServeError("allows no token here", where="grammar")
        return mask

    def accept(self, token_id: int) -> bool:
        accepted = self._matcher.try_consume_tokens([token_id]) == 1
        self._check()
        return accepted

    def rollback(self, count: int) -> None:
        self._matcher.rollback(count)
        self._check()

    @property
    def complete(self) -> bool:
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise ServeError(_short(self._matcher.get_error()), where="grammar")


def _library_form(kind: GrammarKind, text: str) -> str:
    """Return the library's own form of a grammar.

    Raises:
        ValueError: the text is not JSON.
    """
    if kind == "regex":
        return LLMatcher.grammar_from_regex(text)
    if kind == "grammar":
        return LLMatcher.grammar_from_lark(text)
    schema = _ANY_OBJECT if kind == "json_object" else text
    return LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_pattern": _SPACE})


def _short(message: str) -> str:
    """Keep a message of the library to one line."""
    line = " ".join(message.split())
    return line if len(line) <= _MESSAGE_CHARACTERS else line[:_MESSAGE_CHARACTERS] + "…"
