r"""Tool calls as text: how models are told of tools, and how they write calls.

A call is written as Hermes and Qwen models write it:
``<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>``. Training and serving share it, so
that a model that learns from calls makes them in the form that a server parses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

OPENING, CLOSING = "<tool_call>", "</tool_call>"


def instructions(tools: Iterable[Mapping[str, Any]]) -> str:
    """Return the system message that describes tools, in OpenAI's form, to a model."""
    lines = "\n".join(json.dumps(tool) for tool in tools)
    return (
        f"You may call these functions:\n{lines}\nTo call one, write\n{OPENING}\n"
        f'{{"name": NAME, "arguments": ARGUMENTS}}\n{CLOSING}'
    )


def written_call(name: str, arguments: str) -> str:
    """Return a call as the model writes it; ``arguments`` is JSON."""
    return f'{OPENING}\n{{"name": {json.dumps(name)}, "arguments": {arguments}}}\n{CLOSING}'
