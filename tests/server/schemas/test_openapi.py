from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from ingot.server.http.router import Route
from ingot.server.schemas.openapi import describe


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int


@dataclass(frozen=True)
class Receipt:
    """What was ordered."""

    number: int


async def place_order(_: Request) -> Response:
    """Order things."""
    return Response()


ORDER = Route(
    "POST",
    "/orders/{name}",
    place_order,
    Receipt,
    body=Order,
    media_types=("application/json", "text/event-stream"),
)


def operation(route: Route) -> dict[str, Any]:
    """Return what the document says of a route."""
    found: dict[str, Any] = describe([route])["paths"][route.path][route.method.lower()]
    return found


def test_a_route_is_described_by_its_types_and_its_docstring() -> None:
    said = operation(ORDER)
    assert said["summary"] == "Place Order"
    assert said["description"] == "Order things."
    assert [each["name"] for each in said["parameters"]] == ["name"]
    assert said["parameters"][0]["required"]
    body = said["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schemas = describe([ORDER])["components"]["schemas"]
    assert schemas[body.rpartition("/")[2]]["additionalProperties"] is False
    content = said["responses"]["200"]["content"]
    assert content.keys() == {"application/json", "text/event-stream"}
    assert content["application/json"]["schema"]["$ref"].endswith("/Receipt")


def test_errors_are_described_unless_there_are_none() -> None:
    responses = operation(ORDER)["responses"]
    assert {"400", "401", "429"} <= responses.keys()
    plain = Route("GET", "/health", place_order, Receipt, may_refuse=False)
    assert operation(plain)["responses"].keys() == {"200"}
    failing = Route("GET", "/x", place_order, Receipt, other_answers={503: Receipt})
    schema = operation(failing)["responses"]["503"]["content"]["application/json"]["schema"]
    assert schema["$ref"].endswith("/Receipt")


def test_hidden_routes_are_left_out() -> None:
    hidden = Route("GET", "/page", place_order, described=False)
    assert describe([ORDER, hidden])["paths"].keys() == {"/orders/{name}"}


def test_the_base_path_is_the_servers() -> None:
    assert "servers" not in describe([ORDER])
    assert describe([ORDER], "/ingot")["servers"] == [{"url": "/ingot"}]
