"""``/tokenize`` and ``/detokenize``: a model's tokens, in the form of vLLM's routes."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ingot.server.access.request_context import context_of
from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.prompts import conversation_of
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router
from ingot.server.routes.health import json_response
from ingot.server.routes.logprobs import LogprobsWriter
from ingot.server.routes.request_body import read_request, use_model
from ingot.server.schemas.chat import ConversationFields
from ingot.server.schemas.common import ModelRequest, TokenIds
from ingot.server.schemas.messages import Messages


class TokenizeRequest(ConversationFields, ModelRequest):
    """The body of ``POST /tokenize``: a text, or a conversation with a chat's fields."""

    prompt: str | None = None
    messages: Messages | None = None
    add_special_tokens: bool | None = True
    """Begin a text with the token that begins the model's texts; a conversation's template does."""
    return_token_strs: bool | None = False
    """Also return each token's text."""


class DetokenizeRequest(ModelRequest):
    """The body of ``POST /detokenize``."""

    tokens: TokenIds


@dataclass(frozen=True)
class Tokenized:
    """A text's tokens."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None
    """Null unless requested."""


@dataclass(frozen=True)
class Detokenized:
    """Tokens' text."""

    prompt: str


_MAX_NAMED = 32_768  # named on the event loop, in 10 ms


def add_tokens(router: Router, service: Service) -> None:
    """Add the routes from text to tokens and back."""

    @router.post("/tokenize", Tokenized, body=TokenizeRequest)
    async def tokenize(http_request: Request) -> Response:
        """Return the tokens of a text, or of a conversation as the chat route reads it."""
        request = await read_request(http_request, TokenizeRequest, service)
        model = await use_model(service, context_of(http_request), request.model)
        ids = await _tokens(http_request, request, model)
        if request.return_token_strs and len(ids) > _MAX_NAMED:
            raise ApiError(
                400,
                f"return_token_strs goes with at most {_MAX_NAMED} tokens, not {len(ids)}; leave "
                "it out, or send a shorter text",
                param="return_token_strs",
                code="invalid_value",
            )
        names = LogprobsWriter(model.ingot.tokenizer).name
        strings = [names(token_id) for token_id in ids] if request.return_token_strs else None
        return json_response(Tokenized(len(ids), model.loop.max_context, ids, strings))

    @router.post("/detokenize", Detokenized, body=DetokenizeRequest)
    async def detokenize(http_request: Request) -> Response:
        """Return the text of tokens; bytes that are not UTF-8 become U+FFFD."""
        request = await read_request(http_request, DetokenizeRequest, service)
        model = await use_model(service, context_of(http_request), request.model)
        tokenizer = model.ingot.tokenizer
        if (unknown := tokenizer.unknown(request.tokens)) is not None:
            raise ApiError(
                400,
                f"tokens: {unknown} is not one of the model's {tokenizer.vocab_size} tokens",
                param="tokens",
                code="invalid_value",
            )
        return json_response(Detokenized(tokenizer.decode(request.tokens)))


async def _tokens(http_request: Request, request: TokenizeRequest, model: ServedModel) -> list[int]:
    if (request.prompt is None) == (request.messages is None):
        raise ApiError(400, "give prompt or messages", param="prompt", code="invalid_value")
    if request.messages is not None:
        conversation, _ = conversation_of(request, request.messages)
        return await model.prompts.render(http_request, conversation)
    return await model.prompts.encode_text(
        http_request,
        request.prompt or "",
        add_special_tokens=request.add_special_tokens is not False,
    )
