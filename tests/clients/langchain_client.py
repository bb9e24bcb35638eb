"""LangChain: tools, streams, structured output, embeddings; chat and responses."""

from __future__ import annotations

import sys
from typing import Literal

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

URL = f"{sys.argv[1]}/v1"


@tool
def area(unit: Literal["m", "ft"]) -> str:
    """Return the area of the room."""
    return f"12 {unit}"


class Size(BaseModel):
    """The size of the room."""

    size: Literal["small", "large"]


def converse(*, responses: bool, stored: bool = False) -> None:
    """A call, its result, an answer, and one more turn."""
    model = ChatOpenAI(
        model="tiny",
        base_url=URL,
        api_key="any",
        max_retries=0,
        use_responses_api=responses,
        use_previous_response_id=stored,
    )
    calling = model.bind_tools([area], tool_choice="required", parallel_tool_calls=False)
    short = model.bind(max_tokens=16).bind_tools([area], tool_choice="none")
    messages = [HumanMessage("How large is the room?")]
    messages.append(calling.invoke(messages))
    [call] = messages[-1].tool_calls
    messages.append(area.invoke(call))
    assert isinstance(messages[-1], ToolMessage)
    messages.append(short.invoke(messages))
    messages.append(HumanMessage("And in feet?"))
    chunks = list(calling.stream(messages))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    [call] = whole.tool_calls
    assert call["args"]["unit"] in ("m", "ft")
    messages += [whole, area.invoke(call)]
    assert "".join(str(chunk.text) for chunk in short.stream(messages)) is not None
    assert model.with_structured_output(Size).invoke("How large?").size in ("small", "large")


converse(responses=False)
converse(responses=True)
converse(responses=True, stored=True)
embeddings = OpenAIEmbeddings(
    model="tiny", base_url=URL, api_key="any", check_embedding_ctx_length=False
)
vectors = embeddings.embed_documents([f"text {number}" for number in range(1000)])
assert len(vectors) == 1000
