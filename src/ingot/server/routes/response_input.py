"""Input of the Responses API as a conversation: stored turns, then the request's own items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from pydantic import TypeAdapter

from ingot.server.config import ServerConfig
from ingot.server.engine.response_store import ResponseStore, StoredResponse
from ingot.server.http.errors import ApiError
from ingot.server.routes.request_body import check_entries
from ingot.server.schemas.identifiers import new_id
from ingot.server.schemas.messages import (
    MAX_TOOLS,
    AssistantMessage,
    FunctionCall,
    Instruction,
    Message,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from ingot.server.schemas.response_items import (
    CallItem,
    CallResultItem,
    ItemReference,
    MessageItem,
    text_of_parts,
)
from ingot.server.schemas.responses import ResponsesRequest

Item = MessageItem | CallItem | CallResultItem
_ITEMS: TypeAdapter[list[Item]] = TypeAdapter(list[Item])
_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco"}


def own_items(request: ResponsesRequest, store: ResponseStore, owner: str) -> list[Item]:
    """Return the request's own items, references replaced by what they refer to.

    Raises:
        ApiError: 400 where one refers to an item that is not stored.
    """
    if isinstance(request.input, str):
        return [MessageItem(role="user", content=request.input)]
    return [
        _referred(item, store, owner) if isinstance(item, ItemReference) else item
        for item in request.input
    ]


def earlier_items(
    request: ResponsesRequest, store: ResponseStore, owner: str, config: ServerConfig
) -> list[Item]:
    """Return the items of the turns that the request continues, answers included.

    Args:
        request: The body.
        store: Where they are stored.
        owner: Name of the key.
        config: Its limits of a body hold for them too, as if the client had sent them.

    Raises:
        ApiError: 400 where one is not stored, 413 where they are too many.
    """
    if request.previous_response_id is None:
        return []
    turns = store.chain(owner, request.previous_response_id)
    if turns is None:
        raise ApiError(
            400,
            f"there is no stored response {request.previous_response_id!r}, or a turn before it is "
            "not stored any more; send the conversation itself",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    parts = [part for turn in turns for part in (turn.input_items, turn.body)]
    if sum(map(len, parts)) > config.max_body_bytes:
        raise ApiError(
            413,
            f"the stored conversation is larger than {config.max_body_bytes} bytes; begin another",
            param="previous_response_id",
            code="body_too_large",
        )
    check_entries(b"".join(parts), config)
    return [item for turn in turns for item in _ITEMS.validate_python(turn_items(turn))]


def turn_items(turn: StoredResponse) -> list[dict[str, Any]]:
    """Return the items of one turn: its input, then its answer."""
    return [*orjson.loads(turn.input_items), *orjson.loads(turn.body)["output"]]


def stored_form(items: Iterable[Item]) -> bytes:
    """Return items as they are stored and listed: each with an id, contents as parts."""
    return orjson.dumps([_stored(item) for item in items])


def messages_of(instructions: str | None, items: Iterable[Item]) -> list[Message]:
    """Return a conversation in chat's form; calls join the message before them.

    Raises:
        ApiError: 400 for the result of a call that is not in the conversation.
    """
    messages: list[Message] = []
    if instructions:
        messages.append(Instruction(role="system", content=instructions))
    called: set[str] = set()
    for item in items:
        if isinstance(item, MessageItem):
            messages.append(_message(item))
        elif isinstance(item, CallItem):
            called.add(item.call_id)
            _add_call(messages, item)
        elif item.call_id in called:
            text = text_of_parts(item.output)
            messages.append(ToolMessage(role="tool", tool_call_id=item.call_id, content=text))
        else:
            raise ApiError(
                400,
                f"input: there is no function_call with the call_id {item.call_id!r} before its "
                "output; send the call too, or previous_response_id",
                param="input",
                code="invalid_value",
            )
    return messages


def _referred(reference: ItemReference, store: ResponseStore, owner: str) -> Item:
    turn = store.holder(owner, reference.id)
    if turn is None:
        raise ApiError(
            400,
            f"input: no item {reference.id!r} is stored; send the item itself",
            param="input",
            code="item_not_found",
        )
    found = [item for item in orjson.loads(turn.body)["output"] if item["id"] == reference.id]
    return _ITEMS.validate_python(found)[0]


def _stored(item: Item) -> dict[str, Any]:
    fields = item.model_dump(by_alias=True, exclude_none=True)
    fields.setdefault("id", new_id(f"{_PREFIXES[item.type]}_"))
    fields.setdefault("status", "completed")
    if isinstance(item, MessageItem) and isinstance(item.content, str):
        kind = "output_text" if item.role == "assistant" else "input_text"
        fields["content"] = [{"type": kind, "text": item.content}]
    for part in fields.get("content", ()):
        if part["type"] == "output_text":
            part.setdefault("annotations", [])
    return fields


def _message(item: MessageItem) -> Message:
    text = text_of_parts(item.content)
    if item.role == "user":
        return UserMessage(role="user", content=text)
    if item.role == "assistant":
        return AssistantMessage(role="assistant", content=text)
    return Instruction(role=item.role, content=text)


def _add_call(messages: list[Message], item: CallItem) -> None:
    """Add a call to the last message, or as a message of its own."""
    function = FunctionCall(name=item.name, arguments=item.arguments)
    call = ToolCall(id=item.call_id, function=function)
    last = messages[-1] if messages else None
    if isinstance(last, AssistantMessage) and len(last.tool_calls or ()) < MAX_TOOLS:
        calls = [*(last.tool_calls or ()), call]
        messages[-1] = last.model_copy(update={"tool_calls": calls})
    else:
        messages.append(AssistantMessage(role="assistant", tool_calls=[call]))
