"""Signals during a build: heard in every stage, with exit code 130 and what was kept."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE = 300.0
MILLION = 1_000_000


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text of different words, on which a large vocabulary takes minutes to train."""
    rng = random.Random(1)
    folder = tmp_path_factory.mktemp("texts")
    for number in range(6):
        words = ("".join(rng.choices("abcdefghijklmnop", k=12)) for _ in range(MILLION // 12))
        (folder / f"{number}").write_text(" ".join(words))
    return folder


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start ``ingot data build``: (*arguments) -> process; ended with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ingot", "data", "build", *map(str, arguments)]
        with (tmp_path / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                [*command, "--out", str(tmp_path / "out" / "corpus")],
                stdout=subprocess.DEVNULL,
                stderr=errors,
                # Who runs the tests in the background has it ignored, and children inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(what: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, "it ended by itself"
        time.sleep(0.005)


def said(tmp_path: Path) -> list[str]:
    return (tmp_path / "stderr").read_text().splitlines()


def children(process: subprocess.Popen[bytes]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_training_of_the_tokenizer(
    tmp_path: Path,
    text: Path,
    build: Callable[..., subprocess.Popen[bytes]],
    number: signal.Signals,
) -> None:
    """FAULTS D4: signals did nothing until the tokenizer was trained."""
    process = build(text, "--vocab-size", MILLION)
    wait_for(lambda: "train tokenizer" in said(tmp_path) and children(process), process)
    (child,) = children(process)
    os.kill(process.pid, number)
    assert process.wait(PATIENCE) == 130
    assert said(tmp_path)[-1].endswith(
        "/out/corpus: the build was stopped; kept: first pass; run the same command again to resume"
    )
    assert "tokenize" not in said(tmp_path)
    assert not alive(child)
    # What was kept is used: the first pass is not made again.
    process = build(text, "--vocab-size", MILLION)
    wait_for(lambda: "train tokenizer" in said(tmp_path), process)
    assert "read" not in said(tmp_path)


def test_the_tokenizer_is_not_trained_for_nobody(
    tmp_path: Path, text: Path, build: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = build(text, "--vocab-size", MILLION)
    wait_for(lambda: "train tokenizer" in said(tmp_path) and children(process), process)
    (child,) = children(process)
    process.kill()
    process.wait()
    wait_for(lambda: not alive(child))


@pytest.mark.parametrize(
    ("stage", "settings", "kept"),
    [
        ("read", [], ("nothing was kept", "kept: first pass")),
        ("tokenize", [], ("kept: first pass and tokenizer",)),
        ("compress", ["corpus.compression_baseline=true"], ("kept: first pass and tokenizer",)),
    ],
)
def test_a_signal_ends_every_other_stage(
    tmp_path: Path,
    text: Path,
    build: Callable[..., subprocess.Popen[bytes]],
    stage: str,
    settings: list[str],
    kept: tuple[str, ...],
) -> None:
    """FAULTS D4: the same in reading, tokenizing and compressing."""
    options = [option for setting in settings for option in ("--set", setting)]
    source = text / "0" if settings else text
    process = build(source, "--vocab-size", 300, *options)
    wait_for(lambda: stage in said(tmp_path), process)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    last = said(tmp_path)[-1]
    assert any(f"the build was stopped; {clause}" in last for clause in kept)
    assert not list((tmp_path / "out").glob("corpus"))


def test_a_signal_ends_the_listing(
    tmp_path: Path, build: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """FAULTS D4: the same while folders are listed."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(5000):
        (folder / str(number)).write_text(f"text {number}")
    process = build(folder)
    wait_for((tmp_path / "out" / ".corpus.building").exists, process)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert "the build was stopped; nothing was kept" in said(tmp_path)[-1]
    assert list((tmp_path / "out").iterdir()) == []
