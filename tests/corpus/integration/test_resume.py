"""Builds that are killed or stopped resume from their last checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingot.corpus import CorpusConfig, Progress, build_corpus, open_corpus
from ingot.corpus.build.writer import SplitWriter
from ingot.errors import CorpusError, Interrupted

CHECKPOINT_BYTES = 40_000
SHARD_TOKENS = 20_000

# Imports once and forks for each attempt, so that the time goes into building.
KILLER = """
import json, os, random, signal, sqlite3, sys, time
from pathlib import Path
from ingot.corpus import CorpusConfig, build_corpus
from ingot.corpus.build import first_pass
from ingot.corpus.build.writer import SplitWriter
from ingot.errors import CorpusError

first_pass.CHECKPOINT_BYTES = int(sys.argv[1])
SplitWriter.__init__.__kwdefaults__["shard_tokens"] = int(sys.argv[2])
config = CorpusConfig.model_validate_json(sys.argv[3])
out, *sources = map(Path, sys.argv[4:])
hidden = out.parent / f".{out.name}.building"
rng = random.Random()
kept, checkpoints = {}, []
for attempt in range(500):
    child = os.fork()
    if child == 0:
        build_corpus(sources, out, config)
        os._exit(0)
    time.sleep(rng.uniform(0.02, 0.08 + 0.02 * attempt))
    os.kill(child, signal.SIGKILL)
    if os.waitpid(child, 0)[1] == 0:
        break
    if out.exists():  # killed between renaming the result and removing the staging folder
        try:
            build_corpus(sources, out, config)
        except CorpusError:
            break
    database = sqlite3.connect(hidden / "build_state.sqlite")
    try:
        rows = dict(database.execute("SELECT name, value FROM state"))
    except sqlite3.Error:
        rows = {}
    database.close()
    second = json.loads(rows.get("second_pass", "{}"))
    checkpoints.append([json.loads(rows.get("first_pass", "{}")).get("cursor", {}).get("number", 0),
                   second.get("cursor", {}).get("number", 0)])
    for shard in second.get("writer", {}).get("train", {}).get("shards", []):
        kept.setdefault(shard["file"], (hidden / "result" / shard["file"]).stat().st_mtime_ns)
print(json.dumps({"checkpoints": checkpoints, "kept": kept}))
"""


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingot.corpus.build.first_pass.CHECKPOINT_BYTES", CHECKPOINT_BYTES)
    assert SplitWriter.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(SplitWriter.__init__.__kwdefaults__, "shard_tokens", SHARD_TOKENS)


@pytest.fixture
def sources(tmp_path: Path, prose: Callable[[int, int], str]) -> list[Path]:
    """A folder of files and a JSONL file, both with repeated and resembling documents."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(100):
        (folder / f"{number:03d}.txt").write_text(prose(number % 95, 250))
    lines = [prose(number, 200) + ("again" if number % 9 == 0 else "") for number in range(300)]
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return [folder, table]


CONFIG = CorpusConfig(
    vocab_size=300,
    validation_fraction=0.1,
    near_duplicates=0.7,
    mix={"files": 1, "table.jsonl": 2},
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.usefixtures("small_steps")
def test_a_build_killed_many_times_gives_the_same_bytes(
    tmp_path: Path, sources: list[Path]
) -> None:
    whole = build_corpus(sources, tmp_path / "whole" / "corpus", CONFIG)
    assert len(whole.manifest.train.shards) > 4
    out = tmp_path / "killed" / "corpus"
    done = subprocess.run(
        [
            *(sys.executable, "-c", KILLER, str(CHECKPOINT_BYTES), str(SHARD_TOKENS)),
            *(CONFIG.model_dump_json(), out, *sources),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    assert len(told["checkpoints"]) >= 3, "too few kills to say anything"
    for before, after in zip(told["checkpoints"], told["checkpoints"][1:], strict=False):
        assert before[0] <= after[0]  # neither pass ever falls behind a checkpoint
        assert before[1] <= after[1]
    killed, expected = contents(out), contents(whole.path)
    assert killed.keys() == expected.keys()
    assert [name for name in expected if killed[name] != expected[name]] == []
    for name, written in told["kept"].items():
        assert (out / name).stat().st_mtime_ns == written, "a finished shard was written again"
    assert [path.name for path in out.parent.iterdir()] == ["corpus"]
    open_corpus(out, verify=True)


def stop_at(phase: str, share: float) -> Callable[[Progress], None]:
    """Interrupt once, when a phase has come so far."""

    def progress(event: Progress) -> None:
        if event.phase == phase and event.done >= share * event.total:
            raise KeyboardInterrupt

    return progress


@pytest.fixture
def every_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingot.corpus.build.progress._SECONDS_BETWEEN", 0.0)


@pytest.mark.usefixtures("small_steps", "every_event")
@pytest.mark.parametrize(("phase", "share"), [("read", 0.8), ("tokenize", 0.5), ("tokenize", 0.9)])
def test_a_build_that_is_stopped_is_kept_and_continues(
    tmp_path: Path, sources: list[Path], phase: str, share: float
) -> None:
    out = tmp_path / "out" / "corpus"
    with pytest.raises(
        Interrupted, match=r"the build was stopped; kept: .*; run the same command again"
    ):
        build_corpus(sources, out, CONFIG, progress=stop_at(phase, share))
    assert [path.name for path in out.parent.iterdir()] == [".corpus.building"]
    events: list[Progress] = []
    again = build_corpus(sources, out, CONFIG, progress=events.append)
    assert contents(out) == contents(build_corpus(sources, tmp_path / "whole", CONFIG).path)
    first = next(event for event in events if event.phase == phase)
    assert first.done > 0.1 * first.total  # it did not begin at the beginning
    if phase == "tokenize":
        assert {event.phase for event in events} == {"tokenize"}
    assert again.manifest.skipped["duplicate"].count > 0
    assert again.manifest.skipped["near-duplicate"].count > 0


@pytest.mark.usefixtures("small_steps", "every_event")
@pytest.mark.parametrize("what", ["text", "config", "state"])
def test_what_belongs_to_another_build_is_not_gone_on_with(
    tmp_path: Path, sources: list[Path], what: str
) -> None:
    out = tmp_path / "out" / "corpus"
    with pytest.raises(Interrupted):
        build_corpus(sources, out, CONFIG, progress=stop_at("tokenize", 0.9))
    config = CONFIG
    if what == "text":
        (sources[0] / "000.txt").write_text("another text altogether")
    elif what == "config":
        config = CONFIG.model_copy(update={"vocab_size": 310})
    else:
        (out.parent / ".corpus.building" / "build_state.sqlite").write_bytes(b"not a state" * 1000)
    build_corpus(sources, out, config)
    assert contents(out) == contents(build_corpus(sources, tmp_path / "whole", config).path)
    assert [path.name for path in out.parent.iterdir()] == ["corpus"]


@pytest.mark.usefixtures("small_steps", "every_event")
@pytest.mark.parametrize(
    ("kept", "message"),
    [(0, "is truncated"), (100, "is truncated"), (-1, "not match its checksum")],
)
def test_shards_that_were_damaged_meanwhile_are_not_gone_on_with(
    tmp_path: Path, sources: list[Path], kept: int, message: str
) -> None:
    out = tmp_path / "out" / "corpus"
    with pytest.raises(Interrupted):
        build_corpus(sources, out, CONFIG, progress=stop_at("tokenize", 0.9))
    result = out.parent / ".corpus.building" / "result"
    shard = result / "train-00000.tokens"
    data = shard.read_bytes()
    shard.write_bytes(data[:kept] if kept >= 0 else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CorpusError, match=rf"train-00000\.tokens: .*{message}"):
        build_corpus(sources, out, CONFIG)
    assert list(out.parent.iterdir()) == []
    build_corpus(sources, out, CONFIG)
