from __future__ import annotations

import itertools

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.server.http.errors import ApiError
from ingot.server.http.multipart import MultipartParser, Part

TYPE = "multipart/form-data; boundary=XX"


def parse(body: bytes, cuts: list[int], content_type: str = TYPE) -> list[tuple[Part, bytes]]:
    parser = MultipartParser(content_type)
    found: list[tuple[Part, bytes]] = []
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        for event in parser.feed(body[start:end]):
            if isinstance(event, Part):
                found.append((event, b""))
            else:
                found[-1] = (found[-1][0], found[-1][1] + event)
    parser.finish()
    return found


# Contents made of what delimiters are made of.
contents = st.lists(
    st.sampled_from([b"\r\n", b"--", b"XX", b"\r\n--X", b"\n", b"a", b"\x00\xff", b"-"]),
    max_size=12,
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(contents.filter(lambda one: b"\r\n--XX" not in b"\r\n" + one), max_size=5),
    st.lists(st.integers(0, 10_000), max_size=20),
)
def test_any_cut_gives_the_same_fields(fields: list[bytes], cuts: list[int]) -> None:
    body = b"".join(
        b'--XX\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n%s\r\n' % (number, content)
        for number, content in enumerate(fields)
    )
    found = parse(body + b"--XX--\r\n", cuts)
    assert found == [(Part(f"f{number}", None), one) for number, one in enumerate(fields)]


@pytest.mark.parametrize("name", ["in.jsonl", 'quo"te.jsonl', "böse.jsonl", "a; b.jsonl", "\\"])
def test_what_httpx_sends(name: str) -> None:
    request = httpx.Request(
        "POST",
        "http://x",
        files={"file": (name, b"{}\n" * 1000, "application/jsonl")},
        data={"purpose": "batch"},
    )
    found = parse(request.read(), [7, 99, 1000], request.headers["content-type"])
    assert [(part.name, content) for part, content in found] == [
        ("purpose", b"batch"),
        ("file", b"{}\n" * 1000),
    ]
    escaped = name.replace("\\", "").replace('"', "%22")
    assert found[1][0].filename in (name, escaped)


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=" + "x" * 71],
)
def test_other_bodies_are_refused(content_type: str) -> None:
    with pytest.raises(ApiError) as caught:
        MultipartParser(content_type)
    assert caught.value.status == 415


FIELD = b'--XX\r\nContent-Disposition: form-data; name="f"\r\n\r\n'


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "before its closing delimiter"),
        (b"--XY\r\n", "begin with its delimiter"),
        (b"hello" * 9, "begin with its delimiter"),
        (b"--XX\r\n\r\n\r\n\r\n--XX--", "has no name"),
        (b"--XXtra\r\n", "followed by a line end"),
        (FIELD + b"text", "before its closing delimiter"),
        (FIELD + b"text\r\n--XX", "before its closing delimiter"),
        (b"--XX\r\n" + b"a" * 9000, "the head of a field"),
        ((FIELD + b"\r\n") * 17, "over 16 fields"),
        (b"--XX\r\nContent-Disposition: form-data\r\n\r\n", "has no name"),
        (b"--XX\r\nContent-Disposition: attachment; name=f\r\n\r\n", "has no name"),
    ],
)
def test_what_is_not_a_form_is_refused(body: bytes, why: str) -> None:
    for cuts in ([], list(range(60))):
        with pytest.raises(ApiError, match=why) as caught:
            parse(body, cuts)
        assert caught.value.status == 400


def test_a_long_content_is_not_kept() -> None:
    parser = MultipartParser(TYPE)
    list(parser.feed(FIELD))
    longest = 0
    for _ in range(200):
        for event in parser.feed(b"\r\n--X" * 1000):
            assert not isinstance(event, Part)
            longest = max(longest, len(event))
    assert longest < 10_000
