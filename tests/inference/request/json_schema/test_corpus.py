"""Schemas as generators write them: random answers validate, or a keyword is refused by name.

``zod_schemas.json`` is written by ``scripts/zod_schemas.mjs``.
"""

from __future__ import annotations

import contextlib
import decimal
import json
import random
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema.validators import Draft202012Validator, validator_for

from ingot.errors import UsageError
from ingot.inference import Grammar
from ingot.inference.request.grammar_compiler import GrammarCompiler
from ingot.model import Tokenizer
from tests.inference.request.json_schema.pydantic_schemas import pydantic_schemas

ZOD: dict[str, Any] = json.loads(Path(__file__).with_name("zod_schemas.json").read_text())
SCHEMAS = ZOD | pydantic_schemas()
REFUSED = {
    "literal_big": "const",
    "int64 enum": "const",
    "pydantic set": "uniqueItems",
    "pydantic field set": "uniqueItems",
    "pydantic closed set": "uniqueItems",
    "larger dict": "minProperties",
}
"""Ends of the names of all that is refused, and for which keyword."""
STEPS, PATIENCE = 400, 60


@pytest.fixture(scope="module")
def compiler(tokenizer: Tokenizer) -> Iterator[GrammarCompiler]:
    with contextlib.closing(GrammarCompiler(tokenizer)) as compiler:
        yield compiler


def names_of(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema
        for value in schema.values():
            yield from names_of(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from names_of(value)


def test_the_corpus_is_large_and_of_many_keywords() -> None:
    assert len(ZOD) >= 300
    assert len(SCHEMAS) >= 500
    used = {name for schema in SCHEMAS.values() for name in names_of(schema)}
    assert used >= {
        *("propertyNames", "uniqueItems", "oneOf", "allOf", "anyOf", "not", "const", "enum"),
        *("patternProperties", "prefixItems", "multipleOf", "minProperties", "discriminator"),
        *("exclusiveMinimum", "contentEncoding", "deprecated", "$defs", "definitions"),
    }


class Writer:
    """Writes random answers of a grammar, with a liking for ends once they are long."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)
        self._texts = [tokenizer.decode([token]) for token in range(tokenizer.vocab_size)]

    def write(self, grammar: Grammar) -> str | None:
        """Return an answer; None if it does not end."""
        state, tokens = grammar.start(), list[int]()
        while len(tokens) < STEPS:
            bits = np.unpackbits(state.mask().view(np.uint8), bitorder="little")
            token = self._choose(np.flatnonzero(bits).tolist(), len(tokens))
            if token == self._tokenizer.eos_id:
                return self._tokenizer.decode(tokens)
            assert state.accept(token)
            tokens.append(token)
            if state.complete:
                return self._tokenizer.decode(tokens)
        return None

    def _choose(self, allowed: list[int], length: int) -> int:
        if length > PATIENCE:
            ends = [token for token in allowed if self._texts[token] in '}]"']
            if self._tokenizer.eos_id in allowed:
                return self._tokenizer.eos_id
            if ends and self._rng.random() < 0.7:
                return self._rng.choice(ends)
        marks = [token for token in allowed if self._texts[token].strip()] or allowed
        return self._rng.choice(allowed if self._rng.random() < 0.1 else marks)


def exact(number: str) -> Decimal | float:
    """Read a number as it is written, or as infinite where a decimal cannot hold it."""
    return float(number) if len(number.lower().partition("e")[2]) > 5 else Decimal(number)


def validator(schema: Any) -> Any:
    """Return the reference's validator, exact in decimals, without patterns it cannot read."""
    told = json.loads(json.dumps(schema), parse_float=Decimal)
    return validator_for(told, default=Draft202012Validator)(readable(told))


def readable(schema: Any) -> Any:
    if isinstance(schema, list):
        return [readable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: readable(value) for name, value in schema.items()}
    if isinstance(schema.get("pattern"), str):
        try:
            re.compile(schema["pattern"])
        except re.error:  # Unicode's properties, which Python's own expressions do not have
            del made["pattern"]
    return made


def check(name: str, compiler: GrammarCompiler, tokenizer: Tokenizer, answers: int) -> int:
    """Check answers of one schema; return how many ended."""
    schema = SCHEMAS[name]
    refused = next((REFUSED[end] for end in REFUSED if name.endswith(end)), None)
    try:
        grammar = compiler.compile("json_schema", json.dumps(schema))
    except UsageError as refusal:
        said = str(refusal)
        assert f'"{refused}" at #' in said, (name, said)
        return answers
    assert refused is None, name
    assert grammar.cost_s < 0.2
    writer, reference, ended = Writer(tokenizer, seed=7), validator(schema), 0
    for _ in range(answers):
        text = writer.write(grammar)
        if text is not None:
            ended += 1
            with decimal.localcontext() as context:
                context.prec = 2 * STEPS  # a multiple is checked exactly
                value = json.loads(text, parse_float=exact)
                assert [str(error) for error in reference.iter_errors(value)] == [], (name, text)
    return ended


QUICK = sorted(SCHEMAS)[::9]


def test_answers_of_some_schemas_validate(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    """FAULTS C5: a slice of the corpus; `-m long` tries all of it."""
    ended = sum(check(name, compiler, tokenizer, 2) for name in QUICK)
    assert ended > 1.6 * len(QUICK)


@pytest.mark.long
def test_answers_of_all_schemas_validate(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    """FAULTS C5, C6: ordinary schemas of zod, pydantic and MCP servers."""
    ended = sum(check(name, compiler, tokenizer, 6) for name in SCHEMAS)
    assert ended > 5 * len(SCHEMAS)
