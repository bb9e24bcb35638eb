"""Preparation of a schema: every keyword is kept, rewritten, dropped as an annotation, or refused.

What is kept is what the grammar compiler enforces, so that every complete answer validates.
Refusals name the keyword and where it is, before any token is generated.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ingot.errors import UsageError
from ingot.inference.request.json_schema import keywords as kw
from ingot.inference.request.json_schema.keywords import Schema, refusal
from ingot.inference.request.json_schema.numbers import Multiples, check_constant, inner_bound
from ingot.inference.request.json_schema.one_of import make_exclusive
from ingot.inference.request.json_schema.pattern_names import without_empty_patterns
from ingot.inference.request.json_schema.patterns import without_look_ahead
from ingot.inference.request.json_schema.property_names import with_property_names
from ingot.inference.request.json_schema.references import used_definitions
from ingot.inference.request.json_schema.unique_items import with_unique_items

_MAX_DEPTH = 64
_MAX_OPTIONAL = 400  # each is four items of the parser's row, which holds 2,000
_CHECK = "leave it out and check the answer yourself"


def prepare_schema(text: str, *, strict: bool = True) -> Schema:
    """Return a schema of which the compiler enforces every keyword.

    Args:
        text: The schema, as JSON.
        strict: Refuse what cannot be enforced during generation; False drops it instead.

    Raises:
        UsageError: the text is not a JSON schema, or cannot be enforced; it names the keyword.
    """
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "it nests too deeply" if isinstance(error, RecursionError) else error
        raise UsageError(f"is not JSON ({reason})", where="json_schema", fix="correct it") from None
    return _Preparation(document, strict).run()


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


class _Preparation:
    """One walk over one schema."""

    def __init__(self, document: Any, strict: bool) -> None:
        self._root = document
        self._strict = strict
        self._multiples = Multiples()
        self._combines = False
        """Whether parts of the schema are intersected."""

    def run(self) -> Schema:
        if isinstance(self._root, dict):
            self._root = used_definitions(self._root)
        made = self._schema(self._root, "#", 0)
        if self._combines:
            self._multiples.check_combined()
        return make_exclusive(made, strict=self._strict) if isinstance(made, dict) else made

    def _schema(self, schema: Any, path: str, depth: int) -> Schema:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise UsageError(
                f"{path} is neither an object nor a boolean",
                where="json_schema",
                fix="give a JSON schema there",
            )
        if depth > _MAX_DEPTH:
            raise UsageError(
                f"nests deeper than {_MAX_DEPTH} schemas",
                where="json_schema",
                fix="make it flatter",
            )
        made: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in kw.UNENFORCEABLE and _has_effect(keyword, schema):
                self._cannot(keyword, path)
            elif keyword in kw.ENFORCED | kw.IDENTIFIERS | kw.REWRITTEN:
                self._keyword(made, keyword, value, f"{path}/{keyword}", path, depth)
        return self._rewritten(made, schema, path)

    def _keyword(
        self, made: dict[str, Any], keyword: str, value: Any, inner: str, path: str, depth: int
    ) -> None:
        """Add one keyword, with the schemas inside it prepared."""
        if keyword in kw.SCHEMA_MAPS:
            if not isinstance(value, dict):
                raise refusal(keyword, path, "is not an object", "correct it")
            made[keyword] = {
                name: self._schema(one, f"{inner}/{_escaped(name)}", depth + 1)
                for name, one in value.items()
            }
        elif keyword in kw.SCHEMA_LISTS or (keyword == "items" and isinstance(value, list)):
            if not isinstance(value, list):
                raise refusal(keyword, path, "is not an array", "correct it")
            made[keyword] = [
                self._schema(one, f"{inner}/{index}", depth + 1) for index, one in enumerate(value)
            ]
        elif keyword in kw.SUBSCHEMAS or keyword in {"propertyNames", "unevaluatedProperties"}:
            made[keyword] = self._schema(value, inner, depth + 1)
        elif keyword == "not":
            made[keyword] = value
        elif keyword == "enum" and (not isinstance(value, list) or not value):
            raise refusal(keyword, path, "is not an array with values", "correct it")
        else:
            made[keyword] = self._plain(keyword, value, path)

    def _plain(self, keyword: str, value: Any, path: str) -> Any:
        """Return the value of a keyword that holds no schema."""
        if keyword in kw.VALUES:
            check_constant(value, keyword, path)
        elif keyword in kw.BOUNDS:
            return inner_bound(value, keyword, path)
        elif keyword == "multipleOf":
            self._multiples.add(value, path)
        elif keyword in kw.COUNTS:
            return _count(keyword, value, path)
        elif keyword == "type":
            for one in value if isinstance(value, list) else [value]:
                if not isinstance(one, str) or one not in kw.TYPES:
                    shown = json.dumps(one)[:40]
                    raise refusal(keyword, path, f"names {shown}, which is not one", "correct it")
        elif keyword == "required" and not (
            isinstance(value, list) and all(isinstance(name, str) for name in value)
        ):
            raise refusal(keyword, path, "is not an array of names", "correct it")
        elif keyword in {"pattern", "format", "$ref"} and not isinstance(value, str):
            raise refusal(keyword, path, "is not a string", "correct it")
        return value

    def _rewritten(self, made: dict[str, Any], schema: dict[str, Any], path: str) -> Schema:
        """Replace what the compiler does not know by what means the same."""
        if made.get("format") not in {None, *kw.FORMATS}:
            del made["format"]
        if "not" in made:
            excluded = made.pop("not")
            if excluded is True or excluded == {}:  # zod's "never"
                return False
            if excluded is not False:
                self._cannot("not", path)
        if "pattern" in made:
            made = without_look_ahead(made)
        cannot: Callable[[str], None] = lambda keyword: self._cannot(keyword, path)  # noqa: E731
        made = _closed(made, schema, cannot)
        made = with_property_names(made, self._root, cannot)
        made = with_unique_items(made, self._root, cannot)
        self._combines |= "patternProperties" in made
        made = without_empty_patterns(made)
        if made.get("minProperties", 0) > len(made.get("required", ())) + 1:
            # The compiler counts members, and two of them may have one name.
            self._cannot("minProperties", path)
            del made["minProperties"]
        names = made.get("properties", {}).keys() - set(made.get("required", ()))
        if len(names) > _MAX_OPTIONAL:
            problem = f"has {len(names)} that are not required, more than {_MAX_OPTIONAL}"
            raise refusal("properties", path, problem, "require some, or nest them")
        self._combines |= "allOf" in made
        self._combines |= "multipleOf" in made and not made.keys().isdisjoint(
            {"anyOf", "oneOf", "$ref"}
        )
        return made

    def _cannot(self, keyword: str, path: str) -> None:
        """Refuse a keyword that cannot be enforced, unless that was not asked for."""
        if self._strict:
            raise refusal(keyword, path, "cannot be enforced while an answer is generated", _CHECK)


def _has_effect(keyword: str, schema: dict[str, Any]) -> bool:
    """Return whether a keyword says anything, which some do only beside another."""
    if keyword in {"then", "else"}:
        return "if" in schema
    if keyword == "if":
        return "then" in schema or "else" in schema
    if keyword in {"minContains", "maxContains"}:
        return "contains" in schema
    value = schema[keyword]
    if keyword in {"unevaluatedItems", "contains"}:
        return value is not True and value != {}
    return bool(value)


def _closed(
    made: dict[str, Any], schema: dict[str, Any], cannot: Callable[[str], None]
) -> dict[str, Any]:
    """Turn ``unevaluatedProperties`` into ``additionalProperties`` where they are the same."""
    rest = made.pop("unevaluatedProperties", True)
    if rest is True or rest == {} or "additionalProperties" in made:
        return made
    if schema.keys().isdisjoint({"allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas"}):
        return made | {"additionalProperties": rest}
    cannot("unevaluatedProperties")
    return made


def _count(keyword: str, value: Any, path: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise refusal(keyword, path, "is not a count", "give an integer from 0 to 2**31 - 1")
    return value


def _escaped(name: str) -> str:
    """Return a name as a JSON pointer writes it (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
