"""OpenAI's Agents SDK: a run with a tool, a second run on its history, a session, a stream."""

from __future__ import annotations

import asyncio
import sys
from typing import Literal

import openai
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from pydantic import BaseModel

set_tracing_disabled(True)  # it would send every run to OpenAI
asked: list[str] = []


class Size(BaseModel):
    """The size of the room."""

    size: Literal["small", "large"]


@function_tool
def area(unit: Literal["m", "ft"]) -> str:
    """Return the area of the room."""
    asked.append(unit)
    return "12"


async def run(model: object) -> None:
    """Two runs with a call in each, then one that is streamed."""
    asked.clear()
    agent = Agent(
        name="Measurer",
        instructions="Answer in numbers.",
        model=model,
        tools=[area],
        output_type=Size,  # an answer that ends, although the weights are random
        model_settings=ModelSettings(
            tool_choice="required", parallel_tool_calls=False, max_tokens=400
        ),
    )
    # After the call that is required a random model may make others before it answers.
    first = await Runner.run(agent, "How large is the room?", max_turns=40)
    assert asked
    again = [*first.to_input_list(), {"role": "user", "content": "And in feet?"}]
    calls = len(asked)
    second = await Runner.run(agent, again, max_turns=40)
    assert len(asked) > calls
    assert len(second.to_input_list()) > len(again)
    assert second.final_output.size in ("small", "large")
    calls = len(asked)
    session = SQLiteSession("one")
    streamed = Runner.run_streamed(agent, "Once more.", session=session, max_turns=40)
    kinds = [event.type async for event in streamed.stream_events()]
    assert "raw_response_event" in kinds
    assert len(asked) > calls


async def main() -> None:
    """Run with both of OpenAI's interfaces, and with stored responses."""
    client = openai.AsyncOpenAI(base_url=f"{sys.argv[1]}/v1", api_key="any", max_retries=0)
    responses = OpenAIResponsesModel("tiny", client)
    await run(responses)
    await run(OpenAIChatCompletionsModel("tiny", client))
    agent = Agent(name="Talker", model=responses, model_settings=ModelSettings(max_tokens=8))
    first = await Runner.run(agent, "Hello")
    second = await Runner.run(agent, "Again", previous_response_id=first.last_response_id)
    assert second.last_response_id != first.last_response_id


asyncio.run(main())
