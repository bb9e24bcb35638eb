from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from ingot.lesson_content import RECORD_VERSION, record_path


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the record of the last lesson is looked for; nothing is there."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    record_path().parent.mkdir()
    return record_path()


def test_the_lessons_words_are_served(http: httpx.Client) -> None:
    sent = http.get("/lesson/content")
    assert sent.headers["content-encoding"] == "gzip"
    content = sent.json()
    plain = http.get("/lesson/content", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == content
    assert len(content["questions"]) == 6
    assert content["one_weight"]["start"] == "0.5"


def test_the_last_record_is_served(http: httpx.Client, record: Path) -> None:
    record.write_text(f'{{"version": {RECORD_VERSION}, "measured_at": "today"}}')
    assert http.get("/lesson/record").json()["measured_at"] == "today"


def test_without_a_lesson_there_is_no_record(http: httpx.Client, record: Path) -> None:
    response = http.get("/lesson/record")
    assert response.status_code == 404
    assert "run: ingot lesson" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version": 0}',
        b"\xff",
        b"[" * 100_000,
        b'{"version": 1}' + b" " * (2 << 20),
    ],
)
def test_what_is_no_record_is_refused(http: httpx.Client, record: Path, content: bytes) -> None:
    record.write_bytes(content)
    response = http.get("/lesson/record")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "no_record"
