"""Schemas that pydantic writes: each field type in a model of its own, and whole models."""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AnyUrl,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    Json,
    RootModel,
    TypeAdapter,
    conint,
    constr,
)
from typing_extensions import TypedDict


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Point(NamedTuple):
    x: float
    y: float


class Movie(TypedDict, total=False):
    title: str
    year: int


class Address(BaseModel):
    """Where a person lives."""

    street: str
    zip_code: Annotated[str, Field(pattern=r"^\d{5}$")]


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: Annotated[int, Field(ge=1, le=9)]


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool = True


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Linked(BaseModel):
    head: str
    tail: Linked | None = None


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int


class Open(BaseModel):
    model_config = ConfigDict(extra="allow", title="An open model")
    a: int


class Aliased(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    first_name: str = Field(alias="firstName", examples=["Ada"], deprecated=True)


class Extended(Address):
    city: str
    country: Literal["de", "fr"] = "de"


class Described(BaseModel):
    score: float = Field(description="0 to 1", ge=0, le=1, json_schema_extra={"unit": "share"})


class Order(BaseModel):
    id: uuid.UUID
    placed: datetime.datetime
    lines: list[Line] = Field(min_length=1, max_length=4)
    ship_to: Address
    bill_to: Address | None = None
    status: Literal["new", "paid", "sent"] = "new"
    notes: dict[str, str] = {}


class Line(BaseModel):
    sku: Annotated[str, Field(pattern="^[A-Z]{3}-[0-9]{4}$")]
    quantity: Annotated[int, Field(gt=0, le=1000)]
    price: Annotated[float, Field(ge=0)]


Order.model_rebuild()

FIELDS: Mapping[str, Any] = {
    **{kind.__name__: kind for kind in (str, int, float, bool, bytes, list, dict, set)},
    "any": Any,
    "none": None,
    "decimal": decimal.Decimal,
    "date": datetime.date,
    "time": datetime.time,
    "datetime": datetime.datetime,
    "timedelta": datetime.timedelta,
    "uuid": uuid.UUID,
    "url": AnyUrl,
    "http url": HttpUrl,
    "path": Path,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "network": ipaddress.IPv4Network,
    "json": Json[int],
    "enum": Color,
    "int enum": Level,
    "literal": Literal["a", "b"],
    "mixed literal": Literal["a", 1, True, None],
    "one literal": Literal["only"],
    "optional": int | None,
    "union": int | str,
    "wide union": int | float | str | bool | None,
    "list": list[str],
    "list of lists": list[list[int]],
    "bounded list": Annotated[list[int], Field(min_length=1, max_length=3)],
    "sequence": Sequence[float],
    "tuple": tuple[int, str],
    "open tuple": tuple[int, ...],
    "set": set[str],
    "set of literals": set[Literal["a", "b", "c"]],
    "set of enums": frozenset[Color],
    "one of a set": Annotated[set[int], Field(max_length=1)],
    "dict": dict[str, int],
    "dict of models": dict[str, Address],
    "dict by enum": dict[Color, int],
    "dict by literal": dict[Literal["a", "b"], float],
    "dict by int": dict[int, str],
    "dict by uuid": dict[uuid.UUID, bool],
    "dict by pattern": dict[Annotated[str, Field(pattern="^[a-z]+$")], int],
    "dict by length": dict[Annotated[str, Field(max_length=4)], int],
    "bounded dict": Annotated[dict[str, int], Field(min_length=1, max_length=2)],
    "larger dict": Annotated[dict[str, int], Field(min_length=3)],
    "named tuple": Point,
    "typed dict": Movie,
    "min length": Annotated[str, Field(min_length=2, max_length=5)],
    "pattern": constr(pattern=r"^[\w.]+@example\.org$"),
    "loose pattern": Annotated[str, Field(pattern="[0-9]")],
    "positive": Annotated[int, Field(gt=0)],
    "negative": Annotated[float, Field(lt=0)],
    "range": conint(ge=-5, lt=5),
    "int64": Annotated[int, Field(ge=-(2**63), le=2**63 - 1)],
    "uint64": Annotated[int, Field(ge=0, le=2**64 - 1)],
    "int64 enum": Literal[9007199254740993],
    "float32": Annotated[float, Field(ge=-3.4028234663852886e38, le=3.4028234663852886e38)],
    "float range": Annotated[float, Field(gt=-0.001, lt=1e-3)],
    "even": Annotated[int, Field(multiple_of=2)],
    "cents": Annotated[float, Field(multiple_of=0.01, ge=0)],
    "decimal range": Annotated[decimal.Decimal, Field(ge=0, max_digits=5, decimal_places=2)],
    "model": Address,
    "models": list[Address],
    "optional model": Address | None,
    "union of models": Address | Closed,
    "pet": Pet,
    "pets": list[Pet],
    "optional pet": Pet | None,
    "tree": Node,
    "linked": Linked,
    "closed": Closed,
    "open": Open,
    "aliased": Aliased,
    "extended": Extended,
    "described": Described,
    "order": Order,
}


def pydantic_schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas by name: alone, in a model, and as a client of OpenAI sends it."""
    made: dict[str, dict[str, Any]] = {}
    for name, kind in FIELDS.items():
        adapter = TypeAdapter(kind)
        made[f"pydantic {name}"] = adapter.json_schema()
        model = type(
            "Answer",
            (BaseModel,),
            {
                "__annotations__": {"value": kind, "note": str | None},
                "note": None,
                "__module__": __name__,
            },
        )
        made[f"pydantic field {name}"] = model.model_json_schema()
        closed = model.model_json_schema(mode="serialization")
        made[f"pydantic closed {name}"] = closed | {"additionalProperties": False}
    made["pydantic root"] = RootModel[list[Pet]].model_json_schema()
    return made
