from __future__ import annotations

import json
import time
from typing import Any

import pytest

from ingot.errors import UsageError
from ingot.inference.request.json_schema.prepare import prepare_schema

WORST = [-(1 << 63), -(1 << 63) + 512, (1 << 63) - 1, 1 << 64, 2**53, -(2**53), 10**400, 1e300]


def prepared(schema: Any, **options: bool) -> Any:
    return prepare_schema(json.dumps(schema), **options)


POSITIONS = {
    "const": lambda value: {"const": value},
    "enum": lambda value: {"enum": ["a", value]},
    "in a constant array": lambda value: {"const": [1, [value]]},
    "in a constant object": lambda value: {"enum": [{"a": {"b": value}}]},
    "property": lambda value: {"properties": {"a": {"const": value}}},
    "items": lambda value: {"type": "array", "items": {"const": value}},
    "old tuple": lambda value: {"items": [{"const": value}]},
    "tuple": lambda value: {"prefixItems": [{"const": value}]},
    "further": lambda value: {"additionalProperties": {"const": value}},
    "pattern": lambda value: {"patternProperties": {"^a": {"const": value}}},
    "anyOf": lambda value: {"anyOf": [{"type": "null"}, {"const": value}]},
    "oneOf": lambda value: {"oneOf": [{"type": "null"}, {"const": value}]},
    "allOf": lambda value: {"allOf": [{"const": value}]},
    "definition": lambda value: {"$ref": "#/$defs/a", "$defs": {"a": {"const": value}}},
    "a property called oneOf": lambda value: {"properties": {"oneOf": {"const": value}}},
}


@pytest.mark.parametrize("position", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize(
    "value", WORST, ids=[f"{value:.6g}" if abs(value) < 1e300 else "huge" for value in WORST]
)
def test_constants_that_float64_does_not_hold_are_refused_anywhere(
    position: Any, value: Any
) -> None:
    """FAULTS A10, C6: no such number reaches the compiler."""
    with pytest.raises(UsageError, match=r'"(const|enum)" at #'):
        prepared(position(value))


def test_constants_up_to_the_safe_integers_stay_as_they_are() -> None:
    """FAULTS C6: numbers as they are written."""
    schema = {"enum": [2**53 - 1, 1 - 2**53, 0.1, -0.5, 0, 1.0, True, None]}
    assert prepared(schema) == schema


@pytest.mark.parametrize(
    ("bounds", "made"),
    [
        ({"minimum": -(1 << 63)}, {"minimum": -(1 << 63) + 1024}),
        ({"maximum": (1 << 63) - 1}, {"maximum": (1 << 63) - 1024}),
        ({"maximum": (1 << 64) - 1}, {"maximum": (1 << 63) - 1024}),
        ({"minimum": 2**53 + 1}, {"minimum": 2**53 + 2}),
        ({"exclusiveMaximum": 2**53 + 1}, {"exclusiveMaximum": 2**53}),
        ({"maximum": 3.4028234663852886e38}, {"maximum": (1 << 63) - 1024}),
        ({"minimum": -1.5, "maximum": 7}, {"minimum": -1.5, "maximum": 7}),
        ({"minimum": 1, "exclusiveMinimum": True}, {"minimum": 1, "exclusiveMinimum": True}),
    ],
)
def test_bounds_move_inwards_to_what_the_compiler_computes_with(bounds: Any, made: Any) -> None:
    """FAULTS C5, C6: int64, uint64 and float32 as zod and pydantic write them."""
    assert prepared(bounds) == made


@pytest.mark.parametrize("bounds", [{"minimum": 1e19}, {"maximum": -1e300}, {"minimum": "1"}])
def test_bounds_that_leave_nothing_are_refused(bounds: Any) -> None:
    with pytest.raises(UsageError, match="at #"):
        prepared(bounds)


def test_annotations_are_dropped_and_so_are_unknown_keywords() -> None:
    """FAULTS C5: what JSON Schema calls an annotation is accepted."""
    schema = {
        "title": "T",
        "x-order": 3,
        "default": {"$ref": "#/nowhere"},
        "x-guidance": {"lenient": True},
        "type": "string",
        "format": "color",
        "if": {"type": "string"},
    }
    assert prepared(schema) == {"type": "string"}


UNENFORCEABLE = {
    "not": {"type": "string"},
    "if": {"const": 1},
    "contains": {"const": 1},
    "dependentRequired": {"a": ["b"]},
    "dependentSchemas": {"a": {}},
    "dependencies": {"a": ["b"]},
    "unevaluatedItems": False,
    "uniqueItems": True,
    "minProperties": 2,
    "propertyNames": {"not": {"const": "a"}},
}


@pytest.mark.parametrize("keyword", UNENFORCEABLE)
def test_what_cannot_be_enforced_is_refused_by_name_and_dropped_where_not_strict(
    keyword: str,
) -> None:
    """FAULTS C5: refused with the keyword named, where the answer could break it."""
    inner = {keyword: UNENFORCEABLE[keyword]} | ({"then": False} if keyword == "if" else {})
    schema = {"type": "object", "properties": {"a/b": inner}}
    with pytest.raises(UsageError, match=f'"{keyword}|"not') as caught:
        prepared(schema)
    assert "at #/properties/a~1b" in str(caught.value)
    assert prepared(schema, strict=False) == {"type": "object", "properties": {"a/b": {}}}


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        ({"not": {}}, False),
        ({"not": False, "type": "null"}, {"type": "null"}),
        ({"uniqueItems": False}, {}),
        ({"maxItems": 1, "uniqueItems": True}, {"maxItems": 1}),
        ({"unevaluatedProperties": False}, {"additionalProperties": False}),
        (
            {"propertyNames": {"type": "string"}, "additionalProperties": {}},
            {"additionalProperties": {}},
        ),
        (
            {"propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "null"}},
            {
                "properties": {"a": {"type": "null"}, "b": {"type": "null"}},
                "additionalProperties": False,
            },
        ),
        (
            {"propertyNames": {"$ref": "#/$defs/n"}, "$defs": {"n": {"pattern": "^a"}}},
            {
                "$defs": {"n": {"pattern": "^a"}},
                "patternProperties": {"^a": True},
                "additionalProperties": False,
            },
        ),
        (
            {"pattern": r"^(?=.*[)\)])(?=a).{2}$"},
            {
                "pattern": "^.{2}$",
                "allOf": [
                    {"type": "string", "pattern": r"^(?:.*[)\)])"},
                    {"type": "string", "pattern": "^(?:a)"},
                ],
            },
        ),
        ({"minLength": 2.0}, {"minLength": 2}),
    ],
)
def test_what_can_be_written_otherwise_is_rewritten(schema: Any, made: Any) -> None:
    assert prepared(schema) == made


def test_unused_definitions_do_not_matter() -> None:
    used = {"type": "array", "items": {"$ref": "#/$defs/b"}}
    schema = {
        "$ref": "#/$defs/a",
        "$defs": {"a": used, "b": {"type": "null"}, "c": {"not": {"type": "null"}}},
    }
    assert list(prepared(schema)["$defs"]) == ["a", "b"]


@pytest.mark.parametrize(
    "options",
    [
        [{"type": "string"}, {"type": ["null", "integer"]}],
        [{"const": 1}, {"enum": [2, "1"]}],
        [
            {"type": "object", "properties": {"k": {"const": name}}, "required": ["k"]}
            for name in "ab"
        ],
        [{"$ref": "#/$defs/a"}, {"type": "null"}],
    ],
)
def test_one_of_schemas_that_exclude_each_other_is_any_of(options: Any) -> None:
    schema = {"oneOf": options, "$defs": {"a": {"type": "object"}}}
    assert prepared(schema)["anyOf"] == options


def test_a_discriminator_with_a_default_becomes_required() -> None:
    """FAULTS C5: how pydantic writes a union with a discriminator."""
    kinds = {
        name: {"type": "object", "properties": {"k": {"const": name, "default": name}}}
        for name in "ab"
    }
    schema = {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in "ab"], "$defs": kinds}
    made = prepared(schema)
    assert made["anyOf"] == schema["oneOf"]
    assert [one["required"] for one in made["$defs"].values()] == [["k"], ["k"]]


def test_one_of_schemas_that_may_match_together_is_refused() -> None:
    schema = {"oneOf": [{"type": "number"}, {"type": "integer"}]}
    with pytest.raises(UsageError, match='"oneOf" at #'):
        prepared(schema)
    assert "anyOf" in prepared(schema, strict=False)


@pytest.mark.parametrize("multiples", [[65537, 65539], [0.007, 999983], [3, 65521, 65519]], ids=str)
def test_multiples_that_overflow_together_are_refused(multiples: list[float]) -> None:
    with pytest.raises(UsageError, match="multipleOf"):
        prepared({"allOf": [{"multipleOf": value} for value in multiples]})
    assert prepared({"anyOf": [{"multipleOf": value} for value in multiples]})


@pytest.mark.parametrize(
    "value", [0, -1, 1e300, 1e-320, pytest.param(10**400, id="10^400"), "1", True, 0.12345678901]
)
def test_other_multiples_are_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="multipleOf"):
        prepared({"multipleOf": value})


MALFORMED: list[Any] = [
    *(3, "x", [], None),
    *({"type": "bogus"}, {"type": 3}, {"type": ["string", None]}),
    *({"properties": []}, {"properties": {"a": 3}}, {"anyOf": {}}, {"items": "x"}),
    *({"enum": []}, {"enum": 3}, {"required": "a"}, {"required": [1]}, {"pattern": 1}),
    *({"minLength": -1}, {"maxItems": 1.5}, {"maxItems": True}, {"minItems": 10**30}),
    *({"$ref": 1}, {"format": {}}),
]


@pytest.mark.parametrize("schema", MALFORMED, ids=str)
def test_what_is_not_a_schema_is_refused_in_one_line(schema: Any) -> None:
    with pytest.raises(UsageError) as caught:
        prepared(schema)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"const": Infinity}', "[" * 100_000])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not JSON"):
        prepare_schema(text)


@pytest.mark.parametrize(
    "schema",
    [
        {"oneOf": [{"const": n} for n in range(3000)]},
        {"oneOf": [{"properties": {"k": {"const": n}}, "type": "object"} for n in range(900)]},
        {"anyOf": [{"oneOf": [{"minimum": n} for n in range(33)]}] * 90},
        {"uniqueItems": True, "type": "array", "items": {"enum": list(range(9000))}},
        {
            "propertyNames": {"enum": [f"n{n}" for n in range(3000)]},
            "additionalProperties": {"enum": list(range(3000))},
        },
    ],
)
def test_the_work_for_a_schema_and_its_result_stay_in_proportion(schema: Any) -> None:
    """FAULTS A3, A6: no part of a schema is compared with all, or repeated for all."""
    begun = time.process_time()
    made = prepared(schema, strict=False)
    assert time.process_time() - begun < 5
    assert len(json.dumps(made)) < 3 * len(json.dumps(schema))


def test_optional_properties_are_limited_by_name() -> None:
    """FAULTS C5: more than 75 failed after the answer had begun."""
    many = {f"p{n}": {} for n in range(401)}
    with pytest.raises(UsageError, match='"properties" at #/items has 401 that are not required'):
        prepared({"items": {"properties": many}})
    assert prepared({"items": {"properties": many, "required": ["p0"]}})


def test_depth_is_limited() -> None:
    schema: Any = {}
    for _ in range(100):
        schema = {"items": schema}
    with pytest.raises(UsageError, match="deeper"):
        prepared(schema)
    value: Any = 1
    for _ in range(100):
        value = [value]
    with pytest.raises(UsageError, match="deeper"):
        prepared({"const": value})
