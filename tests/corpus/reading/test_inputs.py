from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.corpus import CorpusConfig, build_corpus
from ingot.errors import CorpusError, ResourceError

STDIN = Path("-")
BUILD = """
import sys
from pathlib import Path
from ingot.corpus import CorpusConfig, build_corpus
from ingot.errors import Interrupted
config = CorpusConfig.model_validate_json(sys.argv[1])
try:
    build_corpus([Path("-")], Path(sys.argv[2]), config)
except Interrupted as stopped:
    sys.exit(stopped.exit_code)
"""


@pytest.fixture
def lines(prose: Callable[[int, int], str]) -> bytes:
    return "".join(json.dumps({"text": prose(n, 40)}) + "\n" for n in range(100)).encode()


@pytest.fixture
def jsonl(config: CorpusConfig) -> CorpusConfig:
    return config.model_copy(update={"stdin_format": "jsonl"})


def test_text_from_stdin_is_one_document(
    tmp_path: Path, prose: Callable[[int, int], str], config: CorpusConfig
) -> None:
    text = prose(1, 4000).encode()
    built = build_corpus([STDIN], tmp_path / "corpus", config, stdin=io.BytesIO(text))
    assert (built.manifest.train.documents, built.manifest.split) == (1, "tail")
    (tmp_path / "a.txt").write_bytes(text)
    from_file = build_corpus([tmp_path / "a.txt"], tmp_path / "other", config)
    assert built.manifest.digest == from_file.manifest.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "corpus", "other"]


def test_jsonl_from_stdin_is_a_document_a_line(
    tmp_path: Path, lines: bytes, jsonl: CorpusConfig
) -> None:
    built = build_corpus([STDIN], tmp_path / "corpus", jsonl, stdin=io.BytesIO(lines))
    assert built.manifest.train.documents + built.manifest.validation.documents == 100
    (tmp_path / "a.jsonl").write_bytes(lines)
    from_file = build_corpus([tmp_path / "a.jsonl"], tmp_path / "other", jsonl)
    assert built.manifest.digest == from_file.manifest.digest


def test_stdin_is_told_apart_by_what_it_says(
    tmp_path: Path, lines: bytes, jsonl: CorpusConfig
) -> None:
    prints = [
        build_corpus([STDIN], tmp_path / f"{number}", jsonl, stdin=io.BytesIO(data)).manifest
        for number, data in enumerate((lines, lines, lines[: len(lines) // 2].rpartition(b"\n")[0]))
    ]
    assert prints[0].sources_fingerprint == prints[1].sources_fingerprint
    assert prints[0].sources_fingerprint != prints[2].sources_fingerprint


def test_stdin_may_stand_beside_files(
    tmp_path: Path, lines: bytes, folder: Path, jsonl: CorpusConfig
) -> None:
    mixed = jsonl.model_copy(update={"mix": {"stdin": 1.0, folder.name: 1.0}})
    built = build_corpus([folder, STDIN], tmp_path / "corpus", mixed, stdin=io.BytesIO(lines))
    assert [source.name for source in built.manifest.sources] == [folder.name, "stdin"]
    assert built.manifest.train.documents + built.manifest.validation.documents == 300


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"", "text", r"stdin: no text found: 1 empty \(first: stdin\)"),
        (b"\x00\x01", "text", r"stdin: is binary, not text; only text is read"),
        (b"\xff\xfe\xfd", "text", r"stdin: no text found: 1 not UTF-8"),
        (b'{"text": "a"}\n{"text": 5}\n', "jsonl", r"stdin:2: field 'text' is a number, not text"),
        (b'{"text": "a"}\n{"te', "jsonl", r"stdin:2: is not valid JSON"),
        (b"[" * 100_000, "jsonl", r"stdin:1: is not valid JSON"),
        (b'{"text": "a"}\n', "jsonl", "there is no text for validation"),
    ],
)
def test_what_cannot_be_used_is_named_and_leaves_nothing(
    tmp_path: Path, config: CorpusConfig, data: bytes, kind: str, message: str
) -> None:
    config = config.model_copy(update={"stdin_format": kind})
    with pytest.raises(CorpusError, match=message):
        build_corpus([STDIN], tmp_path / "corpus", config, stdin=io.BytesIO(data))
    assert list(tmp_path.iterdir()) == []


def test_stdin_named_twice_is_refused(tmp_path: Path, config: CorpusConfig) -> None:
    with pytest.raises(CorpusError, match="stdin: is named twice"):
        build_corpus([STDIN, STDIN], tmp_path / "corpus", config, stdin=io.BytesIO(b"x"))


def test_a_disk_that_stdin_fills_is_named(tmp_path: Path, config: CorpusConfig) -> None:
    class Endless(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            spool = tmp_path / ".corpus.building" / "stdin.txt"
            if not spool.is_symlink():
                raise OSError(28, "No space left on device")
            return b""

    with pytest.raises(ResourceError, match="corpus: the disk is full"):
        build_corpus([STDIN], tmp_path / "corpus", config, stdin=Endless())
    assert list(tmp_path.iterdir()) == []


def test_waiting_for_stdin_ends_with_ctrl_c(tmp_path: Path, config: CorpusConfig) -> None:
    command = [sys.executable, "-c", BUILD, config.model_dump_json(), str(tmp_path / "corpus")]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell that runs the tests in the background has it ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"some text, and then silence")
        process.stdin.flush()
        deadline = time.monotonic() + 300
        while not (tmp_path / ".corpus.building" / "stdin.txt").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(300) == 130
    assert list(tmp_path.iterdir()) == []
