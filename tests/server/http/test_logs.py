from __future__ import annotations

import json
import logging
from pathlib import Path

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.errors import ServeError
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.http.logs import FIELDS, LogWriter

SECRET = "a prompt that nobody else may read"


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_json_with_its_fields(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "log")
    with writer.installed():
        logging.getLogger("some.place").info("said\n%s", "twice", extra={FIELDS: {"tokens": 3}})
        try:
            raise LookupError("what")
        except LookupError:
            logging.getLogger("some.place").exception("failed")
    first, second = lines_of(tmp_path / "log")
    assert first["message"] == "said\ntwice"
    assert (first["level"], first["logger"], first["tokens"]) == ("info", "some.place", 3)
    assert str(first["time"]).endswith("Z")
    assert "LookupError: what" in str(second["exception"])
    assert writer.dropped == 0


def test_the_log_is_left_alone_afterwards(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log").installed():
        pass
    logging.getLogger("some.place").warning("later")
    assert (tmp_path / "log").read_text() == ""


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    writer = LogWriter(Path("/dev/full"))
    with writer.installed():
        for _ in range(5):
            logging.getLogger("some.place").info("lost")
    assert writer.dropped == 5


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match="none/log"):
        LogWriter(tmp_path / "none" / "log")


@pytest.mark.parametrize("log_prompts", [False, True])
def test_a_request_leaves_one_line_without_its_text_unless_asked(
    ingot: Ingot, engine: EngineLoop, tmp_path: Path, log_prompts: bool
) -> None:
    path = tmp_path / "log"
    asked = {
        "model": "tiny",
        "prompt": SECRET,
        "max_tokens": 4,
        "user": "somebody",
        "ignore_eos": True,
    }
    with (
        LogWriter(path).installed(),
        Server(
            ingot, engine, ServerConfig(port=0, log_requests=True, log_prompts=log_prompts)
        ) as server,
    ):
        headers = {"x-request-id": "id-7", "x-session-id": "talk-3"}
        httpx.post(f"{server.url}/v1/completions", json=asked, headers=headers).raise_for_status()
        for quiet in ("/health", "/page/app.js", "/admin/activity"):
            httpx.get(f"{server.url}{quiet}").raise_for_status()
    (line,) = [line for line in lines_of(path) if line["message"] == "request"]
    assert (line["request_id"], line["session"]) == ("id-7", "talk-3")
    assert (line["status"], line["model"], line["user"]) == (200, "tiny", "somebody")
    assert line["completion_tokens"] == 4
    assert line["finish_reasons"] == ["length"]
    assert isinstance(line["first_token_s"], float)
    assert line.get("prompts") == ([SECRET] if log_prompts else None)
    assert (SECRET in path.read_text()) == log_prompts


def test_a_server_continues_where_its_log_cannot_be_written(
    ingot: Ingot, engine: EngineLoop
) -> None:
    server = Server(
        ingot, engine, ServerConfig(port=0, log_requests=True, log_file=Path("/dev/full"))
    )
    with server._logs.installed(), server:
        for _ in range(3):
            assert httpx.get(f"{server.url}/v1/models").status_code == 200
    assert server._logs.dropped >= 3
