r"""Tool calls: described to the model, and required by a grammar.

A call is written as Hermes and Qwen models write it:
``<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>``. For a
template that does not render tools, a system message describes them in the same form.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ingot.errors import UsageError
from ingot.inference.request.grammar_compiler import with_space
from ingot.inference.request.json_schema.keywords import Schema
from ingot.inference.request.json_schema.prepare import prepare_schema
from ingot.model.tool_text import CLOSING, OPENING
from ingot.server.http.errors import ApiError
from ingot.server.schemas.chat import (
    AllowedToolsChoice,
    Tool,
    ToolChoice,
)


def described(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Return tools as templates expect them."""
    return [tool.model_dump(exclude_none=True) for tool in tools]


def call_grammar(tools: Iterable[Tool], *, many: bool, answer: Schema | None = None) -> str:
    """Return the Lark grammar of one call, or of one or more, of these tools.

    Each tool's schema is a document of its own, so that ``#`` in it means itself.

    Args:
        tools: The tools.
        many: Whether there may be more than one call.
        answer: A prepared schema of what may be written instead of calls.

    Raises:
        UsageError: a schema cannot be enforced.
    """
    rules, names = [], []
    for number, tool in enumerate(tools):
        function = tool.function
        parameters = {"type": "object"} | (function.parameters or {})
        try:
            schema = prepare_schema(json.dumps(parameters), strict=function.strict is not False)
        except UsageError as error:
            where = f"the parameters of {function.name!r}"
            raise UsageError(error.what, where=where, fix=error.fix) from error
        names.append(f"call_{number}")
        opening = json.dumps(f'{{"name": {json.dumps(function.name)}, "arguments": ')
        rules.append(f'call_{number}: {opening} arguments_{number} "}}"')
        rules.append(f"arguments_{number}: %json {json.dumps(with_space(schema))}")
    start = 'call ("\\n" call)*' if many else "call"
    if answer is not None:
        start = f"({start}) | answer"
        rules.append(f"answer: %json {json.dumps(with_space(answer))}")
    call = f'"{OPENING}\\n" ({" | ".join(names)}) "\\n{CLOSING}"'
    return "\n".join([f"start: {start}", f"call: {call}", *rules]) + "\n"


def select_tools(tools: list[Tool], choice: ToolChoice | None) -> tuple[list[Tool], list[Tool]]:
    """Return the tools to describe to the model, and those of which it must call one.

    Args:
        tools: All that the request holds.
        choice: Its ``tool_choice``.

    Raises:
        ApiError: 400 where the two contradict each other.
    """
    names = [tool.function.name for tool in tools]
    if len(set(names)) < len(names):
        raise ApiError(400, "tools: two have one name", param="tools", code="invalid_value")
    if choice is None or choice == "auto":
        return tools, []
    if choice == "none":
        return [], []
    if choice == "required":
        return tools, tools
    if isinstance(choice, AllowedToolsChoice):
        # Only these are described: what the model does not know it does not call.
        allowed = _named(tools, [tool.function.name for tool in choice.allowed_tools.tools])
        return allowed, allowed if choice.allowed_tools.mode == "required" else []
    return tools, _named(tools, [choice.function.name])


def _named(tools: list[Tool], names: list[str]) -> list[Tool]:
    """Return the tools of these names, in the request's order."""
    by_name = {tool.function.name: tool for tool in tools}
    for name in names:
        if name not in by_name:
            raise ApiError(
                400,
                f"tool_choice: {name[:64]!r} is not among tools",
                param="tool_choice",
                code="invalid_value",
            )
    return [tool for name, tool in by_name.items() if name in names]
