"""``ingot chat`` as a person uses it: lines through a pipe, and a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingot.api import inference
from ingot.cli.chat import Conversation
from ingot.errors import UsageError

INGOT = [sys.executable, "-m", "ingot"]


def test_each_line_of_a_pipe_is_a_message(sealed: Path) -> None:
    done = subprocess.run(
        [*INGOT, "chat", str(sealed), "--max-tokens", "8", "--temperature", "0"],
        input="def\n\n/new\ndef\n",
        capture_output=True,
        text=True,
        timeout=500,
        check=True,
    )
    with inference.load(sealed) as model:
        answer = str(model.chat([{"role": "user", "content": "def"}], max_tokens=8, temperature=0))
    assert done.stdout == f"{answer}\n{answer}\n"
    assert "trained on plain text" in done.stderr
    assert f"--from {sealed} --task chat" in done.stderr


def test_the_turns_before_are_part_of_the_next_prompt(sealed: Path) -> None:
    with inference.load(sealed) as model:
        talk = Conversation(model, "Be brief.", {"max_tokens": 4, "temperature": 0})
        first = "".join(talk.ask("def", print))
        second = "".join(talk.ask("and", print))
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "def"},
            {"role": "assistant", "content": first},
            {"role": "user", "content": "and"},
        ]
        assert second == str(model.chat(messages, max_tokens=4, temperature=0))


def test_old_turns_leave_a_full_context_and_it_is_said(sealed: Path) -> None:
    with inference.load(sealed) as model:
        talk, notes = Conversation(model, "", {"max_tokens": 4, "temperature": 0}), []
        for _ in range(12):
            assert "".join(talk.ask("def main(a, b)", notes.append))
        assert any("oldest turn" in note for note in notes)
        with pytest.raises(UsageError, match="context"):
            list(talk.ask("word " * 200, notes.append))
        assert "".join(talk.ask("def", notes.append))  # what was refused is not kept


def test_a_terminal_shows_help_and_ends_on_exit(sealed: Path) -> None:
    with _terminal(sealed) as (controller, process):
        assert "/exit" in _until(controller, "> ")
        os.write(controller, b"def\n")
        _until(controller, "\n> ")
        os.write(controller, b"/exit\n")
        assert process.wait(300) == 0


def test_ctrl_c_stops_an_answer_and_never_the_chat(sealed: Path) -> None:
    """It may come just after the answer has ended, so at the prompt it does nothing."""
    with _terminal(sealed, "--max-tokens", "64") as (controller, process):
        _until(controller, "> ")
        os.write(controller, b"def\n")
        _until(controller, "def\n")
        os.write(controller, b"\x03")
        _until(controller, "\n> ", again=b"\x03")
        time.sleep(2)  # longer than a process that is to end is given
        os.write(controller, b"\x03")
        assert "/exit" in _until(controller, "\n> ", again=b"\x03")
        os.write(controller, b"\x04")
        assert process.wait(300) == 0


def test_what_was_said_before_ctrl_c_is_kept(sealed: Path) -> None:
    with inference.load(sealed) as model:
        # Long enough that it is still at it when the second piece has been read.
        talk = Conversation(model, "", {"max_tokens": 40, "temperature": 1.0, "seed": 1})
        pieces = talk.ask("def", print)
        said = [next(pieces)]
        with pytest.raises(KeyboardInterrupt):
            pieces.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
        assert "".join(talk.ask("and", print))
        assert talk._turns[1]["content"] == "".join(said)


@contextmanager
def _terminal(sealed: Path, *options: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Start a chat in a terminal of its own."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [
            "env",
            "--default-signal=INT",
            "setsid",
            "--ctty",
            *INGOT,
            "chat",
            str(sealed),
            *options,
        ],  # so that Ctrl-C reaches it
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    try:
        yield controller, process
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def _until(controller: int, text: str, *, again: bytes = b"") -> str:
    """Read from the terminal until a text has appeared.

    Ctrl-C makes a terminal discard what it has not shown yet, perhaps the very prompt that is
    waited for; the process then waits too. So a person would press it again, as ``again`` does.
    """
    read, deadline = "", time.monotonic() + 300
    while text not in read.replace("\r\n", "\n"):
        assert time.monotonic() < deadline, read
        if select.select([controller], [], [], 5)[0]:
            read += os.read(controller, 4096).decode(errors="replace")
        elif again:
            os.write(controller, again)
    return read
