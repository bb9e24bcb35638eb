"""LiteLLM: chat and responses through its translation, tools, streams, second turns."""

from __future__ import annotations

import sys

import litellm

litellm.telemetry = False
FIELDS = {"model": "openai/tiny", "api_base": f"{sys.argv[1]}/v1", "api_key": "any"}
PARAMETERS = {
    "type": "object",
    "properties": {"unit": {"type": "string", "enum": ["m", "ft"]}},
    "required": ["unit"],
    "additionalProperties": False,
}
FUNCTION = {"name": "area", "description": "The area of the room.", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": FUNCTION}]
CALLING = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False}
USER = {"role": "user", "content": "How large is the room?"}

for stream in (False, True):
    messages = [USER]
    answer = litellm.completion(**FIELDS, **CALLING, messages=messages, stream=stream)
    if stream:
        answer = litellm.stream_chunk_builder(list(answer), messages=messages)
    message = answer.choices[0].message
    [call] = message.tool_calls
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "12"}]
    second = litellm.completion(**FIELDS, tools=TOOLS, messages=messages, max_tokens=8)
    messages += [second.choices[0].message.model_dump(), USER]
    third = litellm.completion(**FIELDS, messages=messages, max_tokens=8)
    assert third.usage.completion_tokens <= 8

tool = {"type": "function", "strict": True, **FUNCTION}
first = litellm.responses(
    **FIELDS, input="How large?", tools=[tool], tool_choice="required", parallel_tool_calls=False
)
[call] = first.output
said = [USER, *(item.model_dump() for item in first.output)]
said.append({"type": "function_call_output", "call_id": call.call_id, "output": "12"})
second = litellm.responses(**FIELDS, input=said, tools=[tool], max_output_tokens=8)
assert second.output
