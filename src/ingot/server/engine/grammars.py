"""Grammars that requests ask for, compiled and cached."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingot.errors import IngotError, UsageError
from ingot.inference import Grammar
from ingot.inference.request.grammar_compiler import GrammarCompiler, GrammarKind
from ingot.inference.request.grammar_sequences import FollowedGrammar
from ingot.inference.request.json_schema.prepare import prepare_schema
from ingot.model.tokenizer import Tokenizer
from ingot.server.engine.tools import call_grammar
from ingot.server.http.errors import ApiError, from_ingot_error
from ingot.server.schemas.chat import Tool
from ingot.server.schemas.common import (
    GenerationFields,
    JsonObjectFormat,
    JsonSchemaFormat,
    StructuredOutputs,
    TextFormat,
)
from ingot.server.schemas.responses import SchemaFormat

_AT_ONCE = 2  # as many as the compiler runs; more would only occupy threads of the pool
_WAIT_S = 10.0
_MAX_BYTES, _MAX_TENANT_BYTES = 64 << 20, 16 << 20
_ENTRY_BYTES = 4096
_REST = 5.0
"""Seconds of rest for each second that a tenant's grammars take: at most a sixth of one CPU."""
_MAX_REST_S = 5.0

Format = TextFormat | JsonObjectFormat | JsonSchemaFormat | SchemaFormat
_Entry = tuple[GrammarKind, str, bool]
_OBJECT = ('{"type": "object"}', True)


@dataclass(frozen=True)
class ChosenTools:
    """The tools of an answer."""

    allowed: Sequence[Tool]
    """Those that may be called."""
    required: Sequence[Tool]
    """Those of which one must be called; empty if none must."""
    many: bool
    """Whether there may be more than one call."""


class GrammarCache:
    """Cache of one model's grammars by tenant. Used on the event loop alone.

    What a tenant compiles is not seen by others, not even by its time. Its grammars are
    compiled one after another, with rests. Grammars are kept by the bytes that they take,
    measured; one that is refused is not kept.

    Args:
        tokenizer: The model's own.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._compiler = GrammarCompiler(tokenizer)
        self._compiling = asyncio.Semaphore(_AT_ONCE)
        self._tenants: dict[str, TenantGrammars] = {}

    def of(self, tenant: str) -> TenantGrammars:
        """Return the grammars of a tenant, which is an API key's name."""
        return self._tenants.setdefault(tenant, TenantGrammars(self))

    @property
    def bytes(self) -> int:
        """Bytes that all kept grammars take."""
        return sum(tenant.bytes for tenant in self._tenants.values())

    def close(self) -> None:
        """End the processes that compile and follow."""
        self._compiler.close()

    def trim(self) -> None:
        """Drop grammars of those that hold most, until all fit."""
        while self.bytes > _MAX_BYTES:
            max(self._tenants.values(), key=lambda tenant: tenant.bytes).drop_oldest()

    async def compiled(
        self, kind: GrammarKind, make: Callable[[], str], *, strict: bool
    ) -> FollowedGrammar:
        """Compile a grammar in a thread.

        Raises:
            UsageError: it is refused.
            ResourceError: no process can be started for it.
        """
        async with self._compiling:
            return await asyncio.to_thread(
                lambda: self._compiler.compile(kind, make(), strict=strict)
            )


class TenantGrammars:
    """Least-recently-used cache of one tenant's grammars."""

    def __init__(self, shared: GrammarCache) -> None:
        self._shared = shared
        self._turn = asyncio.Lock()
        self._rests_until = 0.0
        self._kept: OrderedDict[_Entry, FollowedGrammar] = OrderedDict()
        self.bytes = 0
        """Bytes that its kept grammars take."""

    async def compile(
        self,
        kind: GrammarKind,
        text: str,
        field: str,
        *,
        make: Callable[[], str] | None = None,
        strict: bool = True,
    ) -> Grammar:
        """Return a compiled grammar, from the cache if it is there.

        Args:
            kind: What the grammar is.
            text: The grammar, or what it is made of.
            field: The request's field that holds it.
            make: Makes the grammar of ``text``, in another thread; None: the text is it.
            strict: Refuse a schema of which the answer could break a part.

        Raises:
            ApiError: 400 where it is malformed or too costly, 429 where the tenant compiles too
                many, 503 where the machine cannot start a process.
        """
        key = (kind, text, strict)
        if key not in self._kept:
            try:
                await asyncio.wait_for(self._turn.acquire(), _WAIT_S)
            except TimeoutError as error:
                raise _busy() from error
            try:
                if key not in self._kept:  # another request may have compiled it meanwhile
                    self._keep(key, await self._compiled(kind, make or (lambda: text), strict))
            except UsageError as error:
                message = f"{field}: {error}"
                raise ApiError(400, message, param=field, code="invalid_grammar") from error
            except IngotError as error:
                raise from_ingot_error(error) from error
            finally:
                self._turn.release()
        grammar = self._kept[key]
        self._kept.move_to_end(key)
        self._shared.trim()
        return grammar

    def drop_oldest(self) -> None:
        """Drop the grammar that was used longest ago."""
        key, grammar = self._kept.popitem(last=False)
        self.bytes -= _cost(key, grammar)

    async def _compiled(
        self, kind: GrammarKind, make: Callable[[], str], strict: bool
    ) -> FollowedGrammar:
        now = time.monotonic()
        await asyncio.sleep(self._rests_until - now)
        begun, cost_s = time.monotonic(), None
        try:
            grammar = await self._shared.compiled(kind, make, strict=strict)
            cost_s = grammar.cost_s
            return grammar
        finally:
            ended = time.monotonic()
            rest = _REST * (ended - begun if cost_s is None else cost_s)
            self._rests_until = ended + min(rest, _MAX_REST_S)

    def _keep(self, key: _Entry, grammar: FollowedGrammar) -> None:
        self._kept[key] = grammar
        self.bytes += _cost(key, grammar)
        while self.bytes > _MAX_TENANT_BYTES and len(self._kept) > 1:
            self.drop_oldest()


def _cost(key: _Entry, grammar: FollowedGrammar) -> int:
    """Return the bytes of a kept grammar, its text included, of any width."""
    return grammar.size + 4 * len(key[1]) + _ENTRY_BYTES


def _busy() -> ApiError:
    return ApiError(
        429,
        "too many grammars are being compiled for this key; try again",
        code="grammars_busy",
        headers={"retry-after": str(round(_WAIT_S))},
    )


async def request_grammar(request: GenerationFields, grammars: TenantGrammars) -> Grammar | None:
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
    wanted: Format | None, grammars: TenantGrammars, field: str
) -> Grammar | None:
    """Return the grammar of a response format; None for plain text.

    Raises:
        ApiError: 400 where it is not good.
    """
    if wanted is None or isinstance(wanted, TextFormat):
        return None
    if isinstance(wanted, JsonObjectFormat):
        return await grammars.compile("json_object", "", field)
    text, strict = _schema_of(wanted)
    return await grammars.compile("json_schema", text, field, strict=strict)


async def answer_grammar(
    wanted: Format | None,
    tools: ChosenTools,
    grammars: TenantGrammars,
    field: str,
) -> Grammar | None:
    """Return the grammar of an answer: of calls, of a format, or of either.

    Args:
        wanted: The format of a text; without effect where a call is required.
        tools: Those that may and must be called.
        grammars: The tenant's.
        field: The request's field that holds ``wanted``.

    Raises:
        ApiError: 400 where a schema is not good.
    """
    if tools.required:
        return await _tool_grammar(tools.required, grammars, many=tools.many)
    alone = await format_grammar(wanted, grammars, field)  # also names what is wrong with it
    if alone is None or not tools.allowed:
        return alone
    schema = _schema_of(wanted) if isinstance(wanted, JsonSchemaFormat | SchemaFormat) else _OBJECT
    return await _tool_grammar(tools.allowed, grammars, many=tools.many, answer=schema)


async def _tool_grammar(
    tools: Sequence[Tool],
    grammars: TenantGrammars,
    *,
    many: bool,
    answer: tuple[str, bool] | None = None,
) -> Grammar:
    """Return the grammar of one call, or of one or more calls, of these tools.

    Args:
        tools: The tools.
        grammars: The tenant's.
        many: Whether there may be more than one call.
        answer: JSON schema of what may be written instead, and whether it is strict.
    """
    told = [[tool.function.name, tool.function.parameters, tool.function.strict] for tool in tools]

    def make() -> str:
        schema = prepare_schema(answer[0], strict=answer[1]) if answer else None
        return call_grammar(tools, many=many, answer=schema)

    return await grammars.compile("grammar", json.dumps([many, told, answer]), "tools", make=make)


def _schema_of(wanted: JsonSchemaFormat | SchemaFormat) -> tuple[str, bool]:
    """Return a format's JSON schema, and whether it is strict."""
    told = wanted.json_schema if isinstance(wanted, JsonSchemaFormat) else wanted
    return json.dumps(told.schema_), told.strict is not False


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
