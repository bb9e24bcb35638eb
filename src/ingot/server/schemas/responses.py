"""OpenAI's Responses API: the request.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from ingot.inference.request.params import LogprobCount
from ingot.server.schemas.chat import (
    AllowedTools,
    AllowedToolsChoice,
    ConversationFields,
    Function,
    NamedFunction,
    NamedTool,
    Tool,
    ToolChoice,
)
from ingot.server.schemas.common import (
    Count,
    JsonObjectFormat,
    ModelRequest,
    Name,
    ReasoningEffort,
    SamplingFields,
    SchedulingFields,
    ServiceFields,
    Strict,
    TextFormat,
    Verbosity,
)
from ingot.server.schemas.messages import MAX_TOOLS, Nothing
from ingot.server.schemas.response_items import InputItems, ItemId


class SchemaFormat(Strict):
    """JSON that follows a schema."""

    type: Literal["json_schema"]
    name: Name = "answer"
    description: str | None = None
    schema_: Annotated[dict[str, JsonValue], Field(alias="schema")]
    strict: bool | None = None
    """False drops the keywords that cannot be enforced during generation, instead of refusing."""


class TextOptions(Strict):
    """Format of the text."""

    format: (
        Annotated[TextFormat | JsonObjectFormat | SchemaFormat, Field(discriminator="type")] | None
    ) = None
    verbosity: Verbosity | None = None
    """A variable of the chat template, for templates that use it."""


class FunctionTool(Function):
    """A function that the model may call."""

    type: Literal["function"]
    defer_loading: Literal[False] | None = None
    allowed_callers: (
        Annotated[list[Literal["direct"]], Field(max_length=1, fail_fast=True)] | None
    ) = None
    output_schema: None = None

    @property
    def tool(self) -> Tool:
        """The tool in chat's form."""
        fields = self.model_dump(include=set(Function.model_fields))
        return Tool(type="function", function=Function(**fields))


class FunctionName(Strict):
    """A function, by its name."""

    type: Literal["function"]
    name: str

    @property
    def tool(self) -> NamedTool:
        """The same in chat's form."""
        return NamedTool(type="function", function=NamedFunction(name=self.name))


class AllowedFunctions(Strict):
    """Restricts the calls to some of the tools."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[FunctionName], Field(min_length=1, max_length=MAX_TOOLS, fail_fast=True)]


class Reasoning(Strict):
    """How much a model reasons before its answer; only the chat template can heed it."""

    effort: ReasoningEffort | None = None
    """A variable of the chat template, for templates that use it."""
    summary: Literal["auto", "concise", "detailed"] | None = None
    """Without effect: an answer holds no reasoning apart from its text."""
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    """The older name of ``summary``."""


class ResponseStreamOptions(Strict):
    """Contents of a stream besides the text."""

    include_obfuscation: Literal[False] | None = None
    """Events are not padded to hide their lengths, so true is refused."""


_LOGPROBS = "message.output_text.logprobs"
Include = Literal[
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
]
"""Contents of an answer on demand; all but the first belong to items that no answer here has."""


def _input_kind(value: object) -> str | None:
    if isinstance(value, str):
        return "text"
    return "items" if isinstance(value, list) else None


class ResponsesRequest(ModelRequest, SamplingFields, SchedulingFields, ServiceFields):
    """The body of ``POST /v1/responses``. Null means the default everywhere."""

    input: Annotated[
        Annotated[str, Tag("text")] | Annotated[InputItems, Tag("items")],
        Discriminator(
            _input_kind,
            custom_error_type="input_type",
            custom_error_message="must be a string or a list of items",
        ),
    ]
    instructions: str | None = None
    """System message before everything else; a later response does not inherit it."""
    previous_response_id: ItemId | None = None
    """A stored response that the conversation continues."""
    store: bool | None = None
    """Whether to keep the response; null: if the server keeps any."""
    max_output_tokens: Count | None = None
    """Null: as many as the context holds."""
    tools: Annotated[list[FunctionTool], Field(max_length=MAX_TOOLS, fail_fast=True)] | None = None
    tool_choice: (
        Literal["none", "auto", "required"]
        | Annotated[FunctionName | AllowedFunctions, Field(discriminator="type")]
        | None
    ) = None
    parallel_tool_calls: bool | None = True
    """Whether an answer may hold more than one call."""
    max_tool_calls: Count | None = None
    """Without effect: it bounds the calls of tools that run in the server, and there are none."""
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    chat_template_kwargs: Annotated[dict[Name, JsonValue], Field(fail_fast=True)] | None = None
    """Further variables of the chat template, each of which it must use."""
    include: Annotated[list[Include], Field(max_length=16, fail_fast=True)] | None = None
    top_logprobs: LogprobCount | None = None
    """How many of the likeliest tokens to report; null: none, and no log-probabilities unless
    ``include`` names them."""
    stream: bool | None = False
    stream_options: ResponseStreamOptions | None = None
    truncation: Literal["disabled"] | None = None
    """A conversation is never cut to fit the context, so ``auto`` is refused."""
    background: Literal[False] | None = None
    conversation: None = None
    prompt: None = None
    context_management: Nothing = None

    @property
    def logprobs_wanted(self) -> int | None:
        """How many of the likeliest tokens to report; None for no log-probabilities."""
        if self.top_logprobs is None and _LOGPROBS not in (self.include or ()):
            return None
        return self.top_logprobs or 0

    @property
    def chat_fields(self) -> ConversationFields:
        """Tools and variables of the template, in chat's form."""
        return ConversationFields(
            tools=[tool.tool for tool in self.tools or ()],
            tool_choice=self._chat_choice(),
            reasoning_effort=self.reasoning.effort if self.reasoning else None,
            verbosity=self.text.verbosity if self.text else None,
            chat_template_kwargs=self.chat_template_kwargs,
        )

    def _chat_choice(self) -> ToolChoice | None:
        choice = self.tool_choice
        if isinstance(choice, FunctionName):
            return choice.tool
        if isinstance(choice, AllowedFunctions):
            allowed = AllowedTools(mode=choice.mode, tools=[named.tool for named in choice.tools])
            return AllowedToolsChoice(type="allowed_tools", allowed_tools=allowed)
        return choice
