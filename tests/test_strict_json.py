from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.errors import ArtifactError
from ingot.strict_json import parse_object

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), values))
@settings(max_examples=50, deadline=None)
def test_reads_what_json_writes(value: dict[str, object]) -> None:
    assert parse_object(json.dumps(value).encode(), where="x") == value


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b'{"a": 1} x', "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "key 'c' comes twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "out of range"),
        (b'{"a": ' + b"9" * 5000 + b"}", "more than 40 digits"),
        (b'{"a": -' + b"9" * 400 + b"}", "more than 40 digits"),
        (b'{"a": [' + b"0," * 1_000_000 + b"0]}", "more than 1000000 values"),
        (b'{"a": [' + b"{}," * 700_000 + b"0]}", "more than 1000000 values"),
        (b'{"a": ' + b"[" * 200_000, "not valid JSON"),
        (b'{"\xff": 1}', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
    ],
)
def test_refuses(data: bytes, what: str) -> None:
    with pytest.raises(ArtifactError, match=what) as caught:
        parse_object(data, where="some.json")
    assert str(caught.value).startswith("some.json: ")


def test_a_key_given_twice_is_found_in_one_pass() -> None:
    """FAULTS A6: the search took the square of the keys: hours for these."""
    keys = [f'"k{number}":0' for number in range(500_000)]
    with pytest.raises(ArtifactError, match="key 'k499999' comes twice"):
        parse_object(f"{{{','.join([*keys, keys[-1]])}}}".encode(), where="x")


@given(st.binary(max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_bytes_give_an_object_or_an_error(data: bytes) -> None:
    with contextlib.suppress(ArtifactError):
        assert isinstance(parse_object(data, where="x"), dict)
