r"""Tool calls: described to the model, required by a grammar, and parsed from its answer.

A call is written as Hermes and Qwen models write it:
``<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>``. For a
template that does not render tools, a system message describes them in the same form.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from ingot.server.http.errors import ApiError
from ingot.server.schemas.chat import (
    AllowedToolsChoice,
    CalledFunction,
    MadeToolCall,
    Tool,
    ToolChoice,
)

OPENING, CLOSING = "<tool_call>", "</tool_call>"


def described(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Return tools as templates expect them."""
    return [tool.model_dump(exclude_none=True) for tool in tools]


def instructions(tools: Iterable[Tool]) -> str:
    """Return the system message that describes tools to a model."""
    lines = "\n".join(json.dumps(tool) for tool in described(tools))
    return (
        f"You may call these functions:\n{lines}\nTo call one, write\n{OPENING}\n"
        f'{{"name": NAME, "arguments": ARGUMENTS}}\n{CLOSING}'
    )


def written_call(name: str, arguments: str) -> str:
    """Return a call as the model writes it."""
    return f'{OPENING}\n{{"name": {json.dumps(name)}, "arguments": {arguments}}}\n{CLOSING}'


def call_grammar(tools: Iterable[Tool], *, many: bool) -> str:
    """Return the Lark grammar of one call, or of one or more, of these tools."""
    rules, names = [], []
    for number, tool in enumerate(tools):
        parameters = tool.function.parameters or {"type": "object"}
        schema = {
            "type": "object",
            "properties": {"name": {"const": tool.function.name}, "arguments": parameters},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        names.append(f"call_{number}")
        rules.append(f"call_{number}: %json {json.dumps(schema)}")
    start = 'call ("\\n" call)*' if many else "call"
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


@dataclass
class ToolReader:
    """Incremental parser of the calls in an answer's text.

    Text is passed on at once, but for what may begin a call; a call is passed on
    whole. What only looks like one is text; white space right after a call is not.
    """

    count: int = 0
    """Calls found so far."""
    _held: str = field(default="", repr=False)
    _after_call: bool = field(default=False, repr=False)

    def push(self, text: str) -> tuple[str, list[MadeToolCall]]:
        """Take the next text; return what is plain text, and the calls now complete."""
        self._held += text
        plain: list[str] = []
        calls: list[MadeToolCall] = []
        while True:
            before, opening, rest = self._held.partition(OPENING)
            if not opening:
                certain = len(before) - _overlap(before)
                plain.append(self._plain(before[:certain]))
                self._held = before[certain:]
                break
            inside, closing, after = rest.partition(CLOSING)
            if not closing:
                plain.append(self._plain(before))
                self._held = opening + rest
                break
            call = self._call(inside)
            plain.append(self._plain(before if call else before + opening + inside + closing))
            if call:
                calls.append(call)
                self._after_call = True
            self._held = after
        return "".join(plain), calls

    def flush(self) -> str:
        """Return the text that was held back, at the end of the answer."""
        held, self._held = self._held, ""
        return self._plain(held)

    def _plain(self, text: str) -> str:
        """Return text without the white space that follows a call."""
        if self._after_call:
            text = text.lstrip()
            self._after_call = not text
        return text

    def _call(self, inside: str) -> MadeToolCall | None:
        try:
            orjson.loads(inside)  # strict, but large integers become floats
            said = json.loads(inside)
            name, arguments = said["name"], said["arguments"]
            text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (ValueError, RecursionError, KeyError, TypeError):
            return None
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return None
        function = CalledFunction(name, text)
        self.count += 1
        return MadeToolCall(f"call_{uuid.uuid4().hex[:24]}", self.count - 1, function)


def _overlap(text: str) -> int:
    """Return the length of the longest end of the text that may begin a call."""
    longest = min(len(text), len(OPENING) - 1)
    return next((n for n in range(longest, 0, -1) if OPENING.startswith(text[-n:])), 0)
