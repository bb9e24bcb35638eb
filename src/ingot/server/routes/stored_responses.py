"""``/v1/responses/{id}``: read and delete stored responses, and list what they answered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from ingot.server.access.request_context import context_of
from ingot.server.engine.response_store import StoredResponse
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router
from ingot.server.routes.health import json_response
from ingot.server.routes.request_body import read_query
from ingot.server.routes.response_input import turn_items
from ingot.server.schemas.response_body import DeletedResponse, InputItemList, ResponseBody
from ingot.server.schemas.responses import Include


class ResponseQuery(BaseModel):
    """The query of ``GET /v1/responses/{id}``."""

    model_config = ConfigDict(extra="forbid")

    stream: Literal["false"] = "false"
    """A finished response is not streamed again, so true is refused."""
    include: Annotated[list[Include], Field(alias="include[]", max_length=16)] = []
    """Without effect: a response is returned as it was answered."""


class InputItemsQuery(BaseModel):
    """The query of ``GET /v1/responses/{id}/input_items``."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    """Oldest or newest first."""
    after: str | None = None
    """Id of the item before the first that is listed."""
    include: Annotated[list[Include], Field(alias="include[]", max_length=16)] = []
    """Without effect."""


def add_stored_responses(router: Router, service: Service) -> None:
    """Add the routes of stored responses; each sees those of its key alone."""

    @router.get("/v1/responses/{response_id}", ResponseBody, query=ResponseQuery)
    async def response_by_id(request: Request) -> Response:
        """Return a stored response."""
        read_query(request, ResponseQuery)
        response_id = request.path_params["response_id"]
        found = service.responses.get(context_of(request).key_name, response_id)
        if found is None:
            raise _not_found(response_id)
        return Response(found.body, media_type="application/json")

    @router.delete("/v1/responses/{response_id}", DeletedResponse)
    async def delete_response(request: Request) -> Response:
        """Delete a stored response; responses that continue it cannot be continued any more."""
        response_id = request.path_params["response_id"]
        if not service.responses.delete(context_of(request).key_name, response_id):
            raise _not_found(response_id)
        return json_response(DeletedResponse(response_id))

    @router.get("/v1/responses/{response_id}/input_items", InputItemList, query=InputItemsQuery)
    async def input_items(request: Request) -> Response:
        """List the items that a stored response answered, those of earlier turns included."""
        query = read_query(request, InputItemsQuery)
        *earlier, last = _chain(request, service)
        items = [item for turn in earlier for item in turn_items(turn)]
        return json_response(_page([*items, *orjson.loads(last.input_items)], query))


def _chain(request: Request, service: Service) -> list[StoredResponse]:
    response_id = request.path_params["response_id"]
    found = service.responses.chain(context_of(request).key_name, response_id)
    if found is None:
        raise _not_found(response_id)
    return found


def _page(items: list[dict[str, Any]], query: InputItemsQuery) -> InputItemList:
    """Return the part of a list that a query asks for."""
    ordered = items if query.order == "asc" else items[::-1]
    if query.after is not None:
        ids = [item["id"] for item in ordered]
        if query.after not in ids:
            raise ApiError(400, "after names no item", param="after", code="invalid_value")
        ordered = ordered[ids.index(query.after) + 1 :]
    listed = ordered[: query.limit]
    first, last = (listed[0]["id"], listed[-1]["id"]) if listed else (None, None)
    return InputItemList(listed, first, last, has_more=len(ordered) > len(listed))


def _not_found(response_id: str) -> ApiError:
    return ApiError(404, f"there is no stored response {response_id[:80]!r}", code="not_found")
