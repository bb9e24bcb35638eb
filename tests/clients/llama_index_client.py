"""LlamaIndex: a chat, its second turn, a call with its result, streams."""

import sys
from typing import Literal

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike


def area(unit: Literal["m", "ft"]) -> str:
    """Return the area of the room."""
    return f"12 {unit}"


model = OpenAILike(
    model="tiny",
    api_base=f"{sys.argv[1]}/v1",
    api_key="any",
    is_chat_model=True,
    is_function_calling_model=True,
    context_window=8192,
    max_tokens=400,
    max_retries=0,
)
tool = FunctionTool.from_defaults(area)
history = [ChatMessage(role="system", content="In numbers."), ChatMessage(content="How large?")]
answer = model.chat(history)
history += [answer.message, ChatMessage(content="Measure it.")]
calling = {"tool_required": True, "allow_parallel_tool_calls": False}
response = model.chat_with_tools([tool], chat_history=history, **calling)
[call] = model.get_tool_calls_from_response(response)
result = tool.call(**call.tool_kwargs)
history += [
    response.message,
    ChatMessage(role="tool", content=str(result), additional_kwargs={"tool_call_id": call.tool_id}),
]
*_, last = model.stream_chat(history)
assert last.message.content is not None
history += [last.message, ChatMessage(content="Again.")]
*_, streamed = model.stream_chat_with_tools([tool], chat_history=history, **calling)
[call] = model.get_tool_calls_from_response(streamed)
assert call.tool_kwargs["unit"] in ("m", "ft")
