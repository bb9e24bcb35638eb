"""Grammars that requests ask for, compiled and cached."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Sequence

from ingot.errors import IngotError
from ingot.inference import Grammar
from ingot.inference.request.grammar_compiler import GrammarCompiler, GrammarKind
from ingot.model.tokenizer import Tokenizer
from ingot.server.engine.tools import call_grammar
from ingot.server.http.errors import ApiError
from ingot.server.schemas.chat import Tool
from ingot.server.schemas.common import (
    GenerationFields,
    JsonObjectFormat,
    JsonSchemaFormat,
    StructuredOutputs,
    TextFormat,
)
from ingot.server.schemas.responses import SchemaFormat

_KEPT = 64
_AT_ONCE = 2  # as many as the compiler runs; more would only occupy threads of the pool
_WAIT_S = 10.0

Format = TextFormat | JsonObjectFormat | JsonSchemaFormat | SchemaFormat


class GrammarCache:
    """Least-recently-used cache of one model's grammars. Used on the event loop alone.

    Args:
        tokenizer: The model's own.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._compiler = GrammarCompiler(tokenizer)
        self._compiling = asyncio.Semaphore(_AT_ONCE)
        self._kept: OrderedDict[tuple[GrammarKind, str], Grammar] = OrderedDict()

    def close(self) -> None:
        """End the processes that compile and follow."""
        self._compiler.close()

    async def compile(self, kind: GrammarKind, text: str, field: str) -> Grammar:
        """Return a compiled grammar, from the cache if it is there.

        Args:
            kind: What the text is.
            text: The grammar.
            field: The request's field that holds it.

        Raises:
            ApiError: 400 where it is malformed or too costly, 429 where too many are compiled.
        """
        key = (kind, text)
        if key not in self._kept:
            self._kept[key] = await self._compiled(kind, text, field)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    async def _compiled(self, kind: GrammarKind, text: str, field: str) -> Grammar:
        try:
            await asyncio.wait_for(self._compiling.acquire(), _WAIT_S)
        except TimeoutError as error:
            raise ApiError(
                429,
                "too many grammars are being compiled; try again",
                code="grammars_busy",
                headers={"retry-after": str(round(_WAIT_S))},
            ) from error
        try:
            return await asyncio.to_thread(self._compiler.compile, kind, text)
        except IngotError as error:
            raise ApiError(400, f"{field}: {error}", param=field, code="invalid_grammar") from error
        finally:
            self._compiling.release()


async def request_grammar(request: GenerationFields, grammars: GrammarCache) -> Grammar | None:
    """Return the grammar that a request's answer follows, if any.

    Raises:
        ApiError: 400 where it asks for more than one, or for one that is not good.
    """
    outputs = request.structured_outputs
    if outputs is None:
        return await format_grammar(request.response_format, grammars, "response_format")
    if request.response_format is not None:
        raise ApiError(
            400,
            "structured_outputs says what response_format says; leave one out",
            param="structured_outputs",
            code="invalid_value",
        )
    return await grammars.compile(*_chosen(outputs), "structured_outputs")


async def format_grammar(
    wanted: Format | None, grammars: GrammarCache, field: str
) -> Grammar | None:
    """Return the grammar of a response format; None for plain text.

    Raises:
        ApiError: 400 where it is not good.
    """
    if wanted is None or isinstance(wanted, TextFormat):
        return None
    if isinstance(wanted, JsonObjectFormat):
        return await grammars.compile("json_object", "", field)
    schema = wanted.json_schema.schema_ if isinstance(wanted, JsonSchemaFormat) else wanted.schema_
    return await grammars.compile("json_schema", json.dumps(schema), field)


async def tool_grammar(tools: Sequence[Tool], grammars: GrammarCache, *, many: bool) -> Grammar:
    """Return the grammar of one call, or of one or more calls, of these tools.

    Raises:
        ApiError: 400 where a schema of theirs is not good.
    """
    return await grammars.compile("grammar", call_grammar(tools, many=many), "tools")


def _chosen(outputs: StructuredOutputs) -> tuple[GrammarKind, str]:
    """Return the one grammar that ``structured_outputs`` holds."""
    given: list[tuple[GrammarKind, str]] = []
    if outputs.json_ is not None:
        given.append(("json_schema", json.dumps(outputs.json_)))
    if outputs.regex is not None:
        given.append(("regex", outputs.regex))
    if outputs.grammar is not None:
        given.append(("grammar", outputs.grammar))
    if outputs.choice is not None:
        given.append(("grammar", f"start: {' | '.join(map(json.dumps, outputs.choice))}\n"))
    if len(given) != 1:
        raise ApiError(
            400,
            "structured_outputs takes one of json, regex, grammar and choice",
            param="structured_outputs",
            code="invalid_value",
        )
    return given[0]
