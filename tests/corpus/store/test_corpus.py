from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingot.corpus import Corpus, open_corpus
from ingot.errors import CorpusError

Edit = Callable[[Callable[[dict[str, Any]], object]], None]


@pytest.fixture
def copy(corpus: Corpus, tmp_path: Path) -> Path:
    return shutil.copytree(corpus.path, tmp_path / "copy")


@pytest.fixture
def edit(copy: Path) -> Edit:
    """Change the manifest of the copy."""

    def run(change: Callable[[dict[str, Any]], object]) -> None:
        value = json.loads((copy / "corpus.json").read_text())
        change(value)
        (copy / "corpus.json").write_text(json.dumps(value))

    return run


def test_a_corpus_opens_as_it_was_built(corpus: Corpus, copy: Path) -> None:
    opened = open_corpus(copy, verify=True)
    assert opened.manifest == corpus.manifest
    assert opened.path == copy
    assert opened.tokenizer.to_json() == corpus.tokenizer.to_json()
    assert (opened.train.read(0, 100) == corpus.train.read(0, 100)).all()
    assert opened.train.read(0, 1)[0] == opened.tokenizer.eos_id


@pytest.mark.parametrize(
    "name", ["corpus.json", "tokenizer.json", "train-00000.tokens", "validation-00000.tokens"]
)
def test_every_file_is_missed_damaged_or_cut_short_by_name(copy: Path, name: str) -> None:
    whole = (copy / name).read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"\xff" * len(whole), whole + b"xx"):
        (copy / name).write_bytes(data)
        with pytest.raises(CorpusError, match=f"{name}: .*; build the corpus"):
            open_corpus(copy)
    (copy / name).unlink()
    with pytest.raises(CorpusError, match=f"{name}: cannot be read"):
        open_corpus(copy)


@pytest.mark.parametrize("name", ["corpus.json", "tokenizer.json", "train-00000.tokens"])
def test_a_pipe_in_place_of_a_file_is_refused_not_waited_for(copy: Path, name: str) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(CorpusError, match=f"{name}: is not a regular file"):
        open_corpus(copy)


def test_a_flipped_bit_in_tokens_is_found_by_verify(copy: Path) -> None:
    path = copy / "validation-00000.tokens"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=r"validation-00000\.tokens: does not match"):
        open_corpus(copy, verify=True)


def test_shards_that_changed_places_are_found(copy: Path) -> None:
    train, validation = copy / "train-00000.tokens", copy / "validation-00000.tokens"
    train.write_bytes(validation.read_bytes())
    with pytest.raises(CorpusError, match=r"train-00000\.tokens: is not the shard"):
        open_corpus(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=3), "format version 3, this Ingot reads 2"),
        (lambda m: m.update(extra=1), 'is damaged .unknown field "extra"'),
        (lambda m: m.pop("digest"), "is damaged .digest is missing"),
        (lambda m: m["train"].update(tokens=5), "is damaged .train: "),
        (
            lambda m: m["train"]["shards"][0].update(file="../x"),
            r"is damaged .train\.shards\[0\]\.file must",
        ),
        (lambda m: m["train"]["shards"][0].update(sha256="0" * 64), "not match its own digest"),
        (lambda m: m.update(digest="0" * 64), "not match its own digest"),
        (lambda m: m.update(vocab_size="320"), "is damaged .vocab_size must be a valid integer"),
        (lambda m: m["config"].update(seed=-1), "is damaged .config.seed must be at least 0"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused(
    copy: Path, edit: Edit, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(change)
    with pytest.raises(CorpusError, match=rf"corpus\.json: .*{message}"):
        open_corpus(copy)


def test_the_manifest_may_be_anything_but_a_manifest(copy: Path) -> None:
    for data in (b"[]", b"{}", b"null", b"[" * 100_000, b"\xff", b'{"format": "1"}'):
        (copy / "corpus.json").write_bytes(data)
        with pytest.raises(CorpusError, match=r"corpus\.json: "):
            open_corpus(copy)


def test_a_manifest_of_countless_values_is_refused_before_it_is_parsed(copy: Path) -> None:
    """FAULTS B5: each wrong one would take kilobytes of pydantic's errors."""
    path = copy / "corpus.json"
    for many in ('"sources":[' + "{}," * 100_000 + "{}]", ",".join(['"k":1'] * 100_001)):
        path.write_text(f'{{"format":2,{many}}}')
        with pytest.raises(CorpusError, match="holds more than 100,000 values; build the corpus"):
            open_corpus(copy)
    keys = ",".join(f'"k{number}":1' for number in range(9000))
    path.write_text(f'{{"format":2,{keys}}}')
    with pytest.raises(
        CorpusError, match=r"is damaged \(holds 9,009 unknown or wrong fields\)"
    ) as caught:
        open_corpus(copy)
    assert len(str(caught.value)) < 300


def test_a_folder_that_is_no_corpus_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"corpus\.json: cannot be read .*build the corpus first"):
        open_corpus(tmp_path)
