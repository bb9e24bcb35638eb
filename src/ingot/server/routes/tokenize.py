"""``/tokenize`` and ``/detokenize``: a model's tokens, in the form of vLLM's routes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ingot.server.access.request_context import context_of
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router
from ingot.server.routes.health import json_response
from ingot.server.routes.request_body import read_request, use_model
from ingot.server.schemas.common import ModelRequest, TokenIds


class TokenizeRequest(ModelRequest):
    """The body of ``POST /tokenize``."""

    prompt: str


class DetokenizeRequest(ModelRequest):
    """The body of ``POST /detokenize``."""

    tokens: TokenIds


@dataclass(frozen=True)
class Tokenized:
    """A text's tokens."""

    count: int
    max_model_len: int
    tokens: list[int]


@dataclass(frozen=True)
class Detokenized:
    """Tokens' text."""

    prompt: str


def add_tokens(router: Router, service: Service) -> None:
    """Add the routes from text to tokens and back."""

    @router.post("/tokenize", Tokenized, body=TokenizeRequest)
    async def tokenize(http_request: Request) -> Response:
        """Return the tokens of a text."""
        request = await read_request(http_request, TokenizeRequest, service.config)
        model = use_model(service, context_of(http_request), request.model)
        ids = await asyncio.to_thread(model.ingot.tokenizer.encode, request.prompt)
        return json_response(Tokenized(len(ids), model.loop.max_context, ids))

    @router.post("/detokenize", Detokenized, body=DetokenizeRequest)
    async def detokenize(http_request: Request) -> Response:
        """Return the text of tokens; bytes that are not UTF-8 become U+FFFD."""
        request = await read_request(http_request, DetokenizeRequest, service.config)
        model = use_model(service, context_of(http_request), request.model)
        tokenizer = model.ingot.tokenizer
        if request.tokens and (highest := max(request.tokens)) >= tokenizer.vocab_size:
            raise ApiError(
                400,
                f"tokens: {highest} is not one of the model's {tokenizer.vocab_size} tokens",
                param="tokens",
                code="invalid_value",
            )
        return json_response(Detokenized(tokenizer.decode(request.tokens)))
