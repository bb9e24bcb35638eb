"""From a chat's messages to a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.tools import described, instructions, written_call
from ingot.server.http.errors import ApiError
from ingot.server.routes.prompts import check_ids
from ingot.server.schemas.chat import (
    AssistantMessage,
    Content,
    Instruction,
    Message,
    Tool,
    ToolMessage,
    UserMessage,
)


async def encode_conversation(
    messages: Sequence[Message], tools: Sequence[Tool], model: ServedModel
) -> list[int]:
    """Return a conversation's token ids, up to where the answer begins.

    What the template cannot render, tools and their calls, is written into messages.

    Raises:
        ApiError: 400 where the template refuses it or it leaves no room for an answer.
    """
    conversations = model.conversations
    own_tools = await conversations.mentions("tools")
    own_calls = await conversations.mentions("tool_calls")
    plain = [_plain(message, with_calls=own_calls) for message in messages]
    variables: dict[str, Any] = {}
    if tools and own_tools:
        variables["tools"] = described(tools)
    elif tools:
        plain.insert(0, {"role": "system", "content": instructions(tools)})
    ids = await conversations.encode(plain, variables)
    check_ids(ids, model, "messages")
    return ids


def _plain(message: Message, *, with_calls: bool) -> dict[str, Any]:
    """Return a message as templates expect it, its content one text."""
    said: dict[str, Any] = {"role": _role(message), "content": text_of(message.content)}
    if isinstance(message, Instruction | UserMessage | AssistantMessage) and message.name:
        said["name"] = message.name
    if isinstance(message, ToolMessage):
        said["tool_call_id"] = message.tool_call_id
    if isinstance(message, AssistantMessage) and message.tool_calls:
        if with_calls:
            said["tool_calls"] = [call.model_dump() for call in message.tool_calls]
        else:
            written = [
                written_call(call.function.name, call.function.arguments)
                for call in message.tool_calls
            ]
            said["content"] = "\n".join(filter(None, [said["content"], *written]))
    return said


def _role(message: Message) -> str:
    """Return the role by the name that templates know: a developer's word is the system's."""
    return "system" if message.role == "developer" else message.role


def text_of(content: Content | None) -> str:
    """Return a content's text."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text for part in content)


def tools_of(
    tools: Sequence[Tool] | None, choice: Any, *, param: str = "tool_choice"
) -> tuple[list[Tool], list[Tool]]:
    """Return the tools that the model is told of, and those of which one must be called.

    Args:
        tools: All that the request holds.
        choice: Its ``tool_choice``.
        param: What that is called in an error.

    Raises:
        ApiError: 400 where the two contradict each other.
    """
    known = list(tools or ())
    names = [tool.function.name for tool in known]
    if len(set(names)) < len(names):
        raise ApiError(400, "tools: two have one name", param="tools", code="invalid_value")
    if choice is None or choice in ("auto", "none"):
        return ([] if choice == "none" else known), []
    wanted = known if choice == "required" else []
    if not isinstance(choice, str):
        wanted = [tool for tool in known if tool.function.name == choice.function.name]
    if not wanted:
        problem = "asks for a tool that is not among tools"
        raise ApiError(400, f"{param} {problem}", param=param, code="invalid_value")
    return known, wanted
