"""OpenAI's Python client: chat and responses, tools, streams, second turns."""

from __future__ import annotations

import sys
from typing import Literal

import openai
from openai.lib.streaming.chat import ChatCompletionStreamState
from pydantic import BaseModel


class area(BaseModel):  # noqa: N801 (the name of the tool)
    """The area of a room."""

    unit: Literal["m", "ft"]


client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="any", max_retries=0)
USER = {"role": "user", "content": "How large is the room?"}
SHORT = {"model": "tiny", "max_tokens": 8}
CALLING = {
    "model": "tiny",
    "tools": [openai.pydantic_function_tool(area)],
    "tool_choice": "required",
    "parallel_tool_calls": False,
}


def chat(*, stream: bool) -> None:
    """A call, its result, an answer, and one more turn."""
    messages = [USER]
    if stream:
        state = ChatCompletionStreamState(input_tools=CALLING["tools"])
        for chunk in client.chat.completions.create(**CALLING, messages=messages, stream=True):
            state.handle_chunk(chunk)
        message = state.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.parse(**CALLING, messages=messages).choices[0].message
    [call] = message.tool_calls
    assert isinstance(call.function.parsed_arguments, area)
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "12"}]
    answer = client.chat.completions.create(
        **SHORT, messages=messages, tools=CALLING["tools"], tool_choice="none"
    )
    messages += [answer.choices[0].message, USER]
    third = client.chat.completions.create(**SHORT, messages=messages)
    assert third.usage.prompt_tokens > answer.usage.prompt_tokens


def responses(*, stored: bool) -> None:
    """The same with responses: by id, or with the answer's items sent again."""
    fields = {"model": "tiny", "tools": [openai.pydantic_function_tool(area)]}
    tool = fields["tools"][0]["function"]
    fields["tools"] = [{"type": "function", **tool}]
    with client.responses.stream(
        **fields, input=[USER], tool_choice="required", parallel_tool_calls=False, store=stored
    ) as stream:
        kinds = [event.type for event in stream]
        first = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    [call] = first.output
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "12"}
    earlier = {"previous_response_id": first.id} if stored else {}
    said = [result] if stored else [USER, *first.output, result]
    second = client.responses.create(
        **fields, **earlier, input=said, max_output_tokens=8, store=stored, tool_choice="none"
    )
    earlier = {"previous_response_id": second.id} if stored else {}
    said = [USER] if stored else [*said, *second.output, USER]
    third = client.responses.create(model="tiny", **earlier, input=said, max_output_tokens=8)
    assert third.usage.input_tokens > 0


chat(stream=False)
chat(stream=True)
responses(stored=False)
responses(stored=True)
