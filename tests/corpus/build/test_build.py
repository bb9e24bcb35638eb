from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from ingot.corpus import (
    Corpus,
    CorpusConfig,
    Progress,
    TokenStore,
    build_corpus,
    sources_fingerprint,
)
from ingot.errors import CorpusError, Interrupted, ResourceError
from ingot.model.tokenizer import Tokenizer

Prose = Callable[[int, int], str]
Access = tuple[str, str]


@pytest.fixture
def audited() -> Iterator[Callable[[], list[Access]]]:
    """Record what is opened and listed, by Python's audit events: () -> [(event, path)]."""
    accesses: list[Access] = []
    recording = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if recording and event in ("open", "os.listdir", "os.scandir"):
            accesses.append((event, str(arguments[0])))

    sys.addaudithook(hook)  # a hook cannot be removed
    yield accesses.copy
    recording = False


def texts_of(store: TokenStore, tokenizer: Tokenizer) -> list[str]:
    """Cut a stream at its end-of-text tokens and decode it."""
    documents: list[list[int]] = [[]]
    for token in store.read(0, len(store)).tolist():
        if token == tokenizer.eos_id:
            documents.append([])
        else:
            documents[-1].append(token)
    assert documents[0] == documents[-1] == []  # one first, and one after each document
    return [tokenizer.decode(ids) for ids in documents[1:-1]]


def test_core_and_library_write_the_same_bytes(
    tmp_path: Path, prose: Prose, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": f"{prose(number, 40)}\n日本 {number}'s café\r\n"} for number in range(200)]
    (tmp_path / "text.jsonl").write_text("\n".join(map(json.dumps, [*rows, *rows[:20]])))
    config = CorpusConfig(vocab_size=500)
    by_core = build_corpus([tmp_path / "text.jsonl"], tmp_path / "core", config)
    monkeypatch.setattr("ingot.model.native_bpe.native", None)
    by_library = build_corpus([tmp_path / "text.jsonl"], tmp_path / "library", config)
    assert by_core.manifest.tokenized_by == "ingot"
    assert not by_core.manifest.notes()
    assert by_library.manifest.tokenized_by == "tokenizers"
    assert "tokenizers library" in by_library.manifest.notes()[0]
    for name in ("tokenizer.json", "train-00000.tokens", "validation-00000.tokens"):
        ours, theirs = ((tmp_path / side / name).read_bytes() for side in ("core", "library"))
        assert ours == theirs, name


def test_every_document_comes_back_on_one_side(corpus: Corpus, folder: Path) -> None:
    train = texts_of(corpus.train, corpus.tokenizer)
    validation = texts_of(corpus.validation, corpus.tokenizer)
    written = [path.read_text() for path in sorted(folder.rglob("*.txt"))]
    assert sorted(train + validation) == sorted(written)
    assert train == [text for text in written if text in set(train)]
    manifest = corpus.manifest
    assert manifest.split == "hash"
    assert (manifest.train.documents, manifest.validation.documents) == (
        len(train),
        len(validation),
    )
    assert manifest.validation.bytes == sum(len(text.encode()) for text in validation)
    assert manifest.train.tokens == len(corpus.train)
    assert manifest.vocab_size == corpus.tokenizer.vocab_size <= 320


def test_the_same_text_elsewhere_gives_the_same_digest(
    corpus: Corpus, folder: Path, config: CorpusConfig, tmp_path: Path
) -> None:
    moved = shutil.copytree(folder, tmp_path / "other name")
    again = build_corpus([moved], tmp_path / "corpus", config)
    assert again.manifest.digest == corpus.manifest.digest
    assert again.manifest.sources_fingerprint != corpus.manifest.sources_fingerprint


def test_the_digest_follows_text_and_choices(
    corpus: Corpus, folder: Path, config: CorpusConfig, tmp_path: Path
) -> None:
    moved = shutil.copytree(folder, tmp_path / "texts")
    digests = {corpus.manifest.digest}
    other = config.model_copy(update={"validation_fraction": 0.2})
    digests.add(build_corpus([moved], tmp_path / "a", other).manifest.digest)
    (moved / "part0" / "000.txt").write_text("quite another text")
    digests.add(build_corpus([moved], tmp_path / "b", config).manifest.digest)
    assert len(digests) == 3


def test_the_same_documents_in_any_format_give_the_same_digest(
    tmp_path: Path, prose: Prose, config: CorpusConfig
) -> None:
    texts = [prose(number, 40) for number in range(120)]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(lines))
    parquet.write_table(pa.table({"text": texts}), tmp_path / "b.parquet")
    digests = {
        build_corpus([tmp_path / name], tmp_path / f"{name}.out", config).manifest.digest
        for name in ("a.jsonl.zst", "b.parquet")
    }
    assert len(digests) == 1


def test_a_single_file_gives_up_its_tail(
    tmp_path: Path, prose: Prose, config: CorpusConfig
) -> None:
    text = prose(1, 4000)
    (tmp_path / "a.txt").write_text(text)
    corpus = build_corpus([tmp_path / "a.txt"], tmp_path / "corpus", config)
    (head,) = texts_of(corpus.train, corpus.tokenizer)
    (tail,) = texts_of(corpus.validation, corpus.tokenizer)
    assert corpus.manifest.split == "tail"
    assert head + tail == text
    assert head.endswith("\n")
    assert 0.1 <= len(tail) / len(text) < 0.11


def test_a_given_tokenizer_is_used_as_it_is(
    corpus: Corpus, folder: Path, tmp_path: Path, config: CorpusConfig
) -> None:
    tokenizer = Tokenizer.train(["another text"], 300)
    built = build_corpus([folder], tmp_path / "corpus", config, tokenizer=tokenizer)
    assert built.tokenizer.to_json() == tokenizer.to_json()
    assert built.manifest.sources_fingerprint == sources_fingerprint(
        [folder], config, tokenizer=tokenizer
    )
    assert built.manifest.sources_fingerprint != corpus.manifest.sources_fingerprint
    small = config.model_copy(update={"vocab_size": 257})
    with pytest.raises(CorpusError, match=r"tokenizer: has \d+ tokens, vocab_size allows 257"):
        build_corpus([folder], tmp_path / "small", small, tokenizer=tokenizer)


def test_the_fingerprint_shows_that_nothing_changed(
    corpus: Corpus, folder: Path, config: CorpusConfig
) -> None:
    assert corpus.manifest.sources_fingerprint == sources_fingerprint([folder], config)
    other = config.model_copy(update={"seed": 1})
    assert corpus.manifest.sources_fingerprint != sources_fingerprint([folder], other)


def test_what_was_left_out_is_in_the_manifest(
    tmp_path: Path, prose: Prose, config: CorpusConfig
) -> None:
    source = tmp_path / "texts"
    source.mkdir()
    (source / "a.txt").write_text(prose(1, 2000))
    (source / "b.txt").write_text(prose(1, 2000))
    (source / "c.txt").write_bytes(b"Gr\xfc\xdfe")
    (source / "d.txt").write_bytes(b"\x00")
    (source / "e.txt").write_bytes(b"")
    (source / "f.pdf").write_bytes(b"%PDF-1.7")
    skipped = build_corpus([source], tmp_path / "corpus", config).manifest.skipped
    assert {reason: entry.count for reason, entry in skipped.items()} == {
        "binary": 1,
        "duplicate": 1,
        "empty": 1,
        "not UTF-8": 1,
        "PDF or office document": 1,
    }
    assert skipped["not UTF-8"].examples == (str(source / "c.txt"),)


def test_names_that_are_not_utf8_are_written_down_readably(
    tmp_path: Path, prose: Prose, config: CorpusConfig
) -> None:
    source = tmp_path / "texts"
    source.mkdir()
    (source / os.fsdecode(b"\xff good.txt")).write_text(prose(1, 2000))
    (source / os.fsdecode(b"\xff empty.txt")).write_text("")
    corpus = build_corpus([source], tmp_path / "corpus", config)
    assert corpus.manifest.skipped["empty"].examples == (rf"{source}/\udcff empty.txt",)


def test_no_text_at_all_is_an_error_that_says_what_was_there(
    tmp_path: Path, config: CorpusConfig
) -> None:
    source = tmp_path / "texts"
    source.mkdir()
    with pytest.raises(CorpusError, match="texts: no text found; give files or folders"):
        build_corpus([source], tmp_path / "corpus", config)
    (source / "a.txt").write_bytes(b"\x00\x00")
    with pytest.raises(CorpusError, match=r"no text found: 1 binary \(first: .*a\.txt\)"):
        build_corpus([source], tmp_path / "corpus", config)
    with pytest.raises(CorpusError, match="no text found"):
        build_corpus([], tmp_path / "corpus", config)
    (source / "a.txt").write_text("x")
    with pytest.raises(CorpusError, match="there is no text for validation; add more text"):
        build_corpus([source], tmp_path / "corpus", config)
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_a_missing_source_is_named(tmp_path: Path, config: CorpusConfig) -> None:
    with pytest.raises(CorpusError, match="nowhere: cannot be read"):
        build_corpus([tmp_path / "nowhere"], tmp_path / "corpus", config)


def test_an_occupied_folder_is_left_alone(
    tmp_path: Path, folder: Path, config: CorpusConfig
) -> None:
    out = tmp_path / "corpus"
    out.mkdir()
    (out / "mine").write_text("mine")
    with pytest.raises(CorpusError, match="corpus: exists already and is not an empty folder"):
        build_corpus([folder], out, config)
    assert [path.name for path in tmp_path.rglob("*")] == ["corpus", "mine"]


def test_an_interruption_in_the_second_pass_keeps_the_first(
    tmp_path: Path, folder: Path, config: CorpusConfig, corpus: Corpus
) -> None:
    def interrupt(event: Progress) -> None:
        if event.phase == "tokenize":
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="kept: first pass and tokenizer; run the same command"):
        build_corpus([folder], tmp_path / "corpus", config, progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == [".corpus.building"]
    phases: list[str] = []
    again = build_corpus(
        [folder], tmp_path / "corpus", config, progress=lambda event: phases.append(event.phase)
    )
    assert set(phases) == {"tokenize"}
    assert again.manifest == corpus.manifest
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_an_interruption_at_the_beginning_keeps_nothing(
    tmp_path: Path, folder: Path, config: CorpusConfig
) -> None:
    def interrupt(event: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="the build was stopped; nothing was kept") as caught:
        build_corpus([folder], tmp_path / "corpus", config, progress=interrupt)
    assert caught.value.exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == []


def test_sources_that_change_meanwhile_are_refused(
    tmp_path: Path, folder: Path, config: CorpusConfig
) -> None:
    moved = shutil.copytree(folder, tmp_path / "texts")

    def change(event: Progress) -> None:
        if event.phase == "train tokenizer":
            (moved / "part0" / "000.txt").write_text("changed")

    with pytest.raises(CorpusError, match=r"000\.txt: changed while being read"):
        build_corpus([moved], tmp_path / "corpus", config, progress=change)
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


@pytest.mark.parametrize("change", ["added", "removed"])
def test_files_added_or_removed_meanwhile_are_refused(
    tmp_path: Path, folder: Path, config: CorpusConfig, change: str
) -> None:
    moved = shutil.copytree(folder, tmp_path / "texts")

    def alter(event: Progress) -> None:
        if event.phase == "train tokenizer" and event.done == 0:
            if change == "added":
                (moved / "part1" / "new.txt").write_text("appeared during the build")
            else:
                (moved / "part1" / "001.txt").unlink()

    with pytest.raises(CorpusError, match="texts: changed while being read"):
        build_corpus([moved], tmp_path / "corpus", config, progress=alter)


def test_files_that_are_not_sources_may_appear_meanwhile(
    tmp_path: Path, folder: Path, config: CorpusConfig, corpus: Corpus
) -> None:
    moved = shutil.copytree(folder, tmp_path / "texts")

    def add(event: Progress) -> None:
        if event.phase == "train tokenizer" and event.done == 0:
            (moved / "part1" / ".hidden.txt").write_text("appeared during the build")
            (moved / "part1" / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")

    built = build_corpus([moved], tmp_path / "corpus", config, progress=add)
    assert built.manifest.digest == corpus.manifest.digest
    assert built.manifest.skipped == {}


def test_folders_are_listed_once_and_files_are_opened_once_a_pass_and_to_list_them(
    tmp_path: Path, folder: Path, config: CorpusConfig, audited: Callable[[], list[Access]]
) -> None:
    build_corpus([folder], tmp_path / "corpus", config)
    accesses = Counter(access for access in audited() if Path(access[1]).is_relative_to(folder))
    folders = [folder, *(folder / f"part{number}" for number in range(3))]
    expected = {("os.listdir", str(path)): 1 for path in folders}
    expected |= {("open", str(path)): 3 for path in folder.rglob("*.txt")}
    assert accesses == expected


def test_a_change_that_keeps_size_and_time_is_still_seen_in_the_counts(
    tmp_path: Path, folder: Path, config: CorpusConfig
) -> None:
    moved = shutil.copytree(folder, tmp_path / "texts")
    path = moved / "part0" / "000.txt"
    status = path.stat()

    def change(event: Progress) -> None:
        if event.phase == "train tokenizer":
            path.write_bytes(bytes(status.st_size))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    with pytest.raises(CorpusError, match="texts: changed while being read"):
        build_corpus([moved], tmp_path / "corpus", config, progress=change)


def test_a_full_disk_keeps_the_first_pass(
    tmp_path: Path, folder: Path, config: CorpusConfig
) -> None:
    def fill_the_disk(event: Progress) -> None:
        if event.phase == "train tokenizer" and event.done == 0:
            result = tmp_path / ".corpus.building" / "result"
            (result / "train-00000.tokens").symlink_to("/dev/full")

    with pytest.raises(ResourceError, match=r"corpus: the disk is full.*; free some space"):
        build_corpus([folder], tmp_path / "corpus", config, progress=fill_the_disk)
    assert [path.name for path in tmp_path.iterdir()] == [".corpus.building"]


def test_progress_covers_every_phase_and_ends_full(
    tmp_path: Path, folder: Path, config: CorpusConfig
) -> None:
    events: list[Progress] = []
    with_baseline = config.model_copy(update={"compression_baseline": True})
    built = build_corpus([folder], tmp_path / "corpus", with_baseline, progress=events.append)
    assert list(dict.fromkeys(event.phase for event in events)) == [
        "read",
        "train tokenizer",
        "tokenize",
        "compress",
    ]
    for phase in ("read", "train tokenizer", "tokenize", "compress"):
        done = [event.done for event in events if event.phase == phase]
        assert done == sorted(done)
        assert done[-1] == next(event.total for event in events if event.phase == phase)
    baseline = built.manifest.baseline
    assert baseline is not None
    assert baseline.training_bytes == built.manifest.train.bytes
    assert baseline.validation_bytes == built.manifest.validation.bytes
    assert 0 < baseline.xz_9 < 4
    assert 0 < baseline.zstd_19 < 4


def test_a_parent_that_cannot_hold_a_folder_is_named(
    tmp_path: Path, folder: Path, config: CorpusConfig
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match=r"file/corpus: cannot be made \("):
        build_corpus([folder], tmp_path / "file" / "corpus", config)
