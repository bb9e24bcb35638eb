from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ingot.artifact import Ingot
from ingot.errors import UsageError
from ingot.inference import Grammar
from ingot.inference.request.grammar_compiler import GrammarCompiler
from ingot.model import Tokenizer
from ingot.model.tool_text import written_call
from ingot.server.engine.tools import call_grammar
from ingot.server.schemas.chat import Function, Tool


@pytest.fixture(scope="module")
def compiler(ingot: Ingot) -> Iterator[GrammarCompiler]:
    with contextlib.closing(GrammarCompiler(ingot.tokenizer)) as compiler:
        yield compiler


def tool(name: str, parameters: dict[str, Any] | None, strict: bool | None = None) -> Tool:
    function = Function(name=name, parameters=parameters, strict=strict)
    return Tool(type="function", function=function)


def accepts(grammar: Grammar, tokenizer: Tokenizer, text: str) -> bool:
    state = grammar.start()
    return all(state.accept(token) for token in tokenizer.encode(text)) and bool(
        np.unpackbits(state.mask().view(np.uint8), bitorder="little")[tokenizer.eos_id]
    )


NESTED = {
    "$defs": {"P": {"type": "object", "properties": {"x": {"const": 1}}, "required": ["x"]}},
    "type": "object",
    "properties": {"p": {"$ref": "#/$defs/P"}},
    "required": ["p"],
    "additionalProperties": False,
}
TREE = {
    "type": "object",
    "properties": {"left": {"$ref": "#"}},
    "additionalProperties": False,
}


def test_each_tool_has_a_document_of_its_own(compiler: GrammarCompiler, ingot: Ingot) -> None:
    """FAULTS C2: ``#/$defs/P`` and ``#`` mean the tool's own schema."""
    tools = [tool("nested", NESTED), tool("tree", TREE), tool("any", None)]
    grammar = compiler.compile("grammar", call_grammar(tools, many=False))
    for name, arguments, right in [
        ("nested", '{"p": {"x": 1}}', True),
        ("nested", '{"p": {"x": 2}}', False),
        ("nested", "{}", False),
        ("tree", "{}", True),
        ("tree", '{"left": {"left": {}}}', True),
        ("tree", '{"left": 3}', False),
        ("tree", '{"name": "tree"}', False),
        ("any", '{"a": [1]}', True),
        ("any", "3", False),
        ("none", "{}", False),
    ]:
        call = written_call(name, arguments)
        assert accepts(grammar, ingot.tokenizer, call) is right, call
        assert not accepts(grammar, ingot.tokenizer, f"{call}\n{call}")
    many = compiler.compile("grammar", call_grammar(tools, many=True))
    call = written_call("any", "{}")
    assert accepts(many, ingot.tokenizer, f"{call}\n{call}")


def test_white_space_in_a_call_is_bounded(compiler: GrammarCompiler, ingot: Ingot) -> None:
    """FAULTS C4: at most 16 characters between the parts of the arguments."""
    grammar = compiler.compile("grammar", call_grammar([tool("f", TREE)], many=False))
    for count, right in ((16, True), (17, False)):
        call = written_call("f", "{" + " " * count + "}")
        assert accepts(grammar, ingot.tokenizer, call) is right
        call = call.replace('"arguments"', " " * count + '"arguments"')
        assert not accepts(grammar, ingot.tokenizer, call)


def test_what_cannot_be_enforced_is_refused_with_the_tools_name() -> None:
    """FAULTS C5: and dropped where the tool is not strict."""
    parameters = {"properties": {"a": {"not": {"const": 1}}}}
    with pytest.raises(UsageError, match="the parameters of 'f': \"not\" at #/properties/a"):
        call_grammar([tool("f", parameters)], many=False)
    assert "not" not in json.dumps(call_grammar([tool("f", parameters, False)], many=False))
