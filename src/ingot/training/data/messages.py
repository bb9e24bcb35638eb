"""Messages of a conversation: checked, and brought into the form that a template renders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ingot.corpus.reading.jsonl import kind_of
from ingot.model.chat import ANSWERER
from ingot.model.tool_text import instructions, written_call
from ingot.training.data.records import Record

# OpenAI's newer name of a system message, and older one of a tool's.
_SAME = {"developer": "system", "function": "tool"}
ROLES = ("system", "user", ANSWERER, "tool")
_KNOWN = {"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal"}
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}


def checked_messages(record: Record, messages: Any, name: str) -> list[dict[str, str]]:
    """Return messages with a role and a text each; calls of tools are part of the text.

    Args:
        record: The record they come from.
        messages: In OpenAI's form.
        name: The record's field that holds them.

    Raises:
        CorpusError: there are none, or one has no role, an unknown role, no content, empty
            content, content that is not text, or keys that would be ignored.
    """
    if not isinstance(messages, list) or not messages:
        record.refuse(f"has no list of {name!r}", f'write {{"{name}": [...]}}, one message or more')
    return [_message(record, number, message) for number, message in enumerate(messages, 1)]


def described_tools(record: Record) -> list[dict[str, str]]:
    """Return the system message that describes a record's tools, or nothing if it has none.

    Raises:
        CorpusError: ``tools`` is not a list of objects, nor such a list as text.
    """
    tools = record.values.get("tools")
    if isinstance(tools, str) and tools.strip():
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError):
            record.refuse("'tools' is text that is not JSON", "give a list of tools")
    if not tools:
        return []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        record.refuse("'tools' is not a list of objects", "give tools as OpenAI's API takes them")
    return [{"role": "system", "content": record.checked(instructions(tools), "'tools'")}]


def _message(record: Record, number: int, message: Any) -> dict[str, str]:
    name = f"message {number}"
    if not isinstance(message, dict):
        record.refuse(f"{name} is {kind_of(message)}, not an object", "give it role and content")
    role = _role(record, name, message)
    for key, value in message.items():
        if key not in _KNOWN and value not in (None, [], {}):
            record.refuse(
                f"{name} has {key[:40]!r}, which would be ignored",
                "keep role, content, name and tool calls only",
            )
    calls = _calls(record, name, message) if role == ANSWERER else []
    if "content" not in message and not calls:
        record.refuse(f"{name} has no content", "give it as text")
    text = _content(record, message, f"content of {name}", empty=bool(calls) or role == "tool")
    return {"role": role, "content": "\n".join(filter(None, [text, *calls]))}


def _role(record: Record, name: str, message: Mapping[str, Any]) -> str:
    if "role" not in message:
        record.refuse(f"{name} has no role", f"give it one of {', '.join(ROLES)}")
    role = message["role"]
    role = _SAME.get(role, role) if isinstance(role, str) else role
    if role not in ROLES:
        shown = repr(role[:40]) if isinstance(role, str) else kind_of(role)
        record.refuse(f"{name} has unknown role {shown}", f"use one of {', '.join(ROLES)}")
    return str(role)


def _content(record: Record, message: Mapping[str, Any], name: str, *, empty: bool) -> str:
    """Return a message's text, its parts joined."""
    content = message.get("content")
    if content is None:
        content = message.get("refusal") or ("" if empty else None)
    if not isinstance(content, list):
        return record.checked(content, name, empty=empty)
    texts = []
    for index, part in enumerate(content, 1):
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str) or kind not in _TEXT_PARTS:
            shown = repr(kind[:40]) if isinstance(kind, str) else kind_of(part)
            record.refuse(f"part {index} of {name} is {shown}, not text", "give text parts only")
        text = part.get(_TEXT_PARTS[kind])
        texts.append(record.checked(text, f"part {index} of {name}", empty=True))
    return record.checked("".join(texts), name, empty=empty)


def _calls(record: Record, name: str, message: Mapping[str, Any]) -> list[str]:
    """Return an answer's calls of tools as the model writes them."""
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        record.refuse(f"tool_calls of {name} is {kind_of(calls)}, not a list", "give a list")
    functions = [call.get("function", call) if isinstance(call, dict) else call for call in calls]
    if message.get("function_call"):
        functions.append(message["function_call"])
    return [written(record, function, f"call of {name}") for function in functions]


def written(record: Record, function: Any, name: str) -> str:
    """Return the call of a function as the model writes it.

    Raises:
        CorpusError: it has no name, or its arguments are neither an object nor one as text.
    """
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        record.refuse(f"the {name} has no name", "give it name and arguments")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            arguments = None
    if not isinstance(arguments, dict):
        record.refuse(f"arguments of the {name} are not an object", "give them as an object")
    text = written_call(function["name"], json.dumps(arguments, ensure_ascii=False))
    return record.checked(text, f"the {name}")
