from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest
from llguidance import LLMatcher, LLTokenizer

from ingot.errors import UsageError
from ingot.inference.request.grammar_compiler import GrammarCompiler, library_form
from ingot.inference.request.json_schema.pattern_names import names_of
from ingot.inference.request.json_schema.prepare import prepare_schema
from ingot.model import Tokenizer

TOKENIZER = Tokenizer.train(['{"a": 1, "b": [true, false, null]}\n'] * 9, 300)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("^$", {""}),
        ("^ab$", {"ab"}),
        ("^[ab]$", {"a", "b"}),
        ("^[a-c]$", {"a", "b", "c"}),
        ("^(a|b|)$", {"a", "b", ""}),
        ("^(?:a|bc)d?$", {"a", "ad", "bc", "bcd"}),
        ("^a{2}$", {"aa"}),
        ("^a{0,2}$", {"", "a", "aa"}),
        (r"^x\.y\-z$", {"x.y-z"}),
        ("^(a|a)$", {"a"}),
    ],
)
def test_the_names_of_a_pattern_that_matches_few(pattern: str, names: set[str]) -> None:
    assert names_of(pattern, most=4) == names


@pytest.mark.parametrize(
    "pattern",
    [
        *("a", "^a", "a$", "^a+$", "^a*$", "^.$", "^[^a]$", r"^\d$", r"^\ba$", "^[a-z]$", "^a|b$"),
        *(
            "(?i)^a$",
            "^(?i)a$",
            "^a{9}$",
            "^a{2,}$",
            "^a?+$",
            "^[[a]]$",
            "^[a&&b]$",
            "^(a$",
            "^[a$",
        ),
        *("^a{x}$", "^a{1$", "^" + "(" * 5000 + "a" + ")" * 5000 + "$", "^[ab][ab][ab]$"),
        *("", "^", "$", "^a$b", "^[\\]-~]$", "^\\"),
    ],
)
def test_others_may_match_more(pattern: str) -> None:
    assert names_of(pattern, most=4) is None


def test_a_pattern_that_leaves_no_further_name_becomes_properties() -> None:
    """FAULTS C5: the compiler would offer a member that no token can begin."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "patternProperties": {"^[ab]$": {"maxLength": 3}, "^x": {"type": "null"}},
        "required": ["b"],
        "additionalProperties": False,
    }
    assert prepare_schema(json.dumps(schema)) == {
        "type": "object",
        "properties": {
            "a": {"allOf": [{"type": "string"}, {"maxLength": 3}]},
            "b": {"maxLength": 3},
        },
        "patternProperties": {"^x": {"type": "null"}},
        "required": ["b"],
        "additionalProperties": False,
    }
    del schema["required"]  # now b is left
    assert prepare_schema(json.dumps(schema)) == schema


NAMES = ("a", "b", "ab", "x1", "")
PATTERNS = ("^a", "^b$", "^$", "^[ab]$", "^(a|b)$", "^x?1$", "^a{0}$", "b$", "^.$", "^[^a]")
VALUES: tuple[Any, ...] = (
    *(True, {"const": 1}, {"type": "null"}, {"enum": ["a", "b"]}, {"type": "integer"}),
)


def test_answers_to_random_objects_never_fail_midway() -> None:
    """FAULTS C5: each schema is refused at once, or every path of it ends in a valid answer."""
    rng = random.Random(1)
    size = TOKENIZER.vocab_size
    tokenizer = LLTokenizer(TOKENIZER.to_json(), n_vocab=size, eos_token=[TOKENIZER.eos_id])
    compiled = 0
    for _ in range(150):
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {name: rng.choice(VALUES) for name in rng.sample(NAMES, 2)},
            "patternProperties": {rng.choice(PATTERNS): rng.choice(VALUES)},
            "additionalProperties": rng.choice((False, False, {"type": "null"})),
            "required": rng.sample(NAMES, rng.randrange(3)),
        }
        try:
            source = library_form("json_schema", json.dumps(schema))
        except UsageError:
            continue
        whole = LLMatcher(tokenizer, source[1:].decode(), log_level=0)
        if whole.is_error():
            continue
        compiled += 1
        for _ in range(12):
            matcher, ids = whole.deep_copy(), []
            while not matcher.is_stopped() and len(ids) < 150:
                bits = int.from_bytes(matcher.compute_bitmask(), "little")
                allowed = [token for token in range(size) if bits >> token & 1]
                assert allowed, (schema, matcher.get_error())
                ids.append(rng.choice(allowed))
                assert matcher.try_consume_tokens(ids[-1:]) == 1
            if matcher.is_stopped():
                text = TOKENIZER.decode(token for token in ids if token != TOKENIZER.eos_id)
                jsonschema.validate(json.loads(text), schema)
    assert compiled > 40


def test_the_compiler_takes_what_is_left() -> None:
    compiler = GrammarCompiler(TOKENIZER)
    try:
        schema = {"patternProperties": {"^$": True}, "required": [""], "type": "object"}
        compiler.compile("json_schema", json.dumps(schema | {"additionalProperties": False}))
    finally:
        compiler.close()
