"""Grammars of requests, compiled and followed: ``GrammarCompiler`` and its processes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np

from ingot.inference.request.grammar_compiler import GrammarCompiler, GrammarKind
from ingot.model import Tokenizer
from tests.fuzz.mutate import mutate_bytes
from tests.fuzz.targets import json_schema

_KINDS: tuple[GrammarKind, ...] = ("json_schema", "regex", "grammar")
_REGEXES = ("(ab|cd)+[0-9]{2}", "(a{2000}){3000}", "[^a-z]*é.", r"\d{3}-\p{L}+", "(a|b)*a(a|b){20}")
_GRAMMARS = (
    'start: "a" start "b" | "c"',
    'start: a\na: a a a | a a | "x" | ',
    'start: x y?\nx: /[a-z]+/\ny: "(" start ")"',
    'start: %json {"const": -9223372036854775808}',
    'start: %json {"type": "object"} "\\n"',
    "start: A & ~B\nA: /[ab]+/\nB: /b+/",
)
_STEPS = 12


@functools.cache
def _parts() -> tuple[Tokenizer, GrammarCompiler]:
    tokenizer = Tokenizer.train(["the quick brown fox " * 8], 270)
    return tokenizer, GrammarCompiler(tokenizer)


def examples() -> Sequence[bytes]:
    return [b'0{"type": "string"}', b"1ab*", b'2start: "a"']


def make(random: Random) -> bytes:
    kind = random.randrange(len(_KINDS))
    if kind == 0:
        text = json_schema.make(random)
    else:
        text = random.choice(_REGEXES if kind == 1 else _GRAMMARS).encode()
        if random.random() < 0.8:
            text = mutate_bytes(random, text)
    return str(kind).encode() + text


def attempt(data: bytes) -> None:
    tokenizer, compiler = _parts()
    text = data[1:].decode(errors="replace")
    grammar = compiler.compile(_KINDS[int(data[:1])], text)
    random, state = Random(0), grammar.start()
    for _ in range(_STEPS):
        if state.complete:
            return
        bits: Any = np.unpackbits(state.mask().view(np.uint8), bitorder="little")
        token = random.choice(np.flatnonzero(bits).tolist())
        if token == tokenizer.eos_id:
            return
        assert state.accept(token)
        if random.random() < 0.2:
            state.rollback(1)
            assert state.accept(token)
