from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ingot.corpus import Shard, TokenStore
from ingot.corpus.build.writer import CorpusWriter, SplitWriter
from ingot.corpus.store.manifest import SideRecord
from ingot.errors import CorpusError
from ingot.model.tokenizer import Tokenizer


@pytest.mark.parametrize("shard_tokens", [1, 2, 7, 16, 17, 1000])
def test_shards_are_cut_anywhere_and_lose_nothing(tmp_path: Path, shard_tokens: int) -> None:
    documents = [[1, 2, 3], [], [4], list(range(5, 13))]
    writer = SplitWriter(tmp_path, "train", vocab_size=300, eos_id=0, shard_tokens=shard_tokens)
    for ids in documents:
        writer.add(np.array(ids, np.uint32), size=10)
    record, tallies = writer.finish()
    store = TokenStore([Shard(tmp_path / shard.file) for shard in record.shards], 300)
    stream = [0, 1, 2, 3, 0, 0, 4, 0, *range(5, 13), 0]
    assert store.read(0, len(store)).tolist() == stream
    assert (record.documents, record.bytes, record.tokens) == (4, 40, len(stream))
    assert all(shard.tokens == shard_tokens for shard in record.shards[:-1])
    assert 0 < record.shards[-1].tokens <= shard_tokens
    assert [shard.sha256 for shard in record.shards] == [part.sha256 for part in store.shards]
    store.verify()
    assert tallies == {0: SideRecord(documents=4, bytes=40, tokens=len(stream))}


def test_a_side_without_documents_is_an_error(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path, "validation", vocab_size=300, eos_id=0)
    with pytest.raises(CorpusError, match="there is no text for validation"):
        writer.finish()
    writer.close()


def test_text_that_spells_the_end_of_text_is_plain_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(["text"], 260)
    text = "before <|endoftext|> after"
    with CorpusWriter(tmp_path, tokenizer) as writer:
        writer.add("train", text, len(text))
        writer.add("validation", "x", 1)
        (train, _), _ = writer.finish()
    ids = TokenStore([Shard(tmp_path / train.shards[0].file)], 260).read(0, train.tokens).tolist()
    assert [index for index, token in enumerate(ids) if token == tokenizer.eos_id] == [
        0,
        len(ids) - 1,
    ]
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("text", ["a line\n" * 30, "one long line " * 15])
def test_a_long_document_is_tokenized_in_pieces_and_stays_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("ingot.corpus.build.writer._PIECE_CHARACTERS", 40)
    monkeypatch.setattr("ingot.corpus.build.writer._BATCH_BYTES", 60)
    tokenizer = Tokenizer.train(["text"], 260)
    with CorpusWriter(tmp_path, tokenizer) as writer:
        writer.add("train", "before", 6)
        writer.add("train", text, len(text))
        writer.add("train", "after", 5)
        writer.add("validation", "x", 1)
        (train, _), _ = writer.finish()
    assert (train.documents, train.bytes) == (3, len(text) + 11)
    ids = TokenStore([Shard(tmp_path / train.shards[0].file)], 260).read(0, train.tokens).tolist()
    assert ids.count(tokenizer.eos_id) == 4
    assert tokenizer.decode(ids) == f"before{text}after"


def test_an_error_in_the_thread_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer.train(["text"], 260)

    def fail(_: object, *, continues: object) -> None:
        del continues
        raise MemoryError("too much")

    monkeypatch.setattr(tokenizer, "encode_arrays", fail)
    with CorpusWriter(tmp_path, tokenizer) as writer:
        writer.add("train", "text", 4)
        with pytest.raises(MemoryError, match="too much"):
            writer.finish()


def test_memory_does_not_grow_with_the_length_of_a_document(tmp_path: Path) -> None:
    """FAULTS D8: a log with identifiers took 1.4 GB; a process starts with some 80 MB."""
    script = """
import random, sys
from pathlib import Path
from ingot.corpus.build.writer import CorpusWriter
from ingot.model.tokenizer import Tokenizer
text = "".join(f"id={random.getrandbits(128):032x}\\n" for _ in range(50_000))
tokenizer = Tokenizer.train([text[:100_000]], 300)
def peak():
    line = next(l for l in open("/proc/self/status") if l.startswith("VmHWM"))
    return int(line.split()[1]) >> 10
before = peak()
with CorpusWriter(Path(sys.argv[1]), tokenizer) as writer:
    writer.add("train", text, len(text))
    writer.add("validation", "x", 1)
    writer.finish()
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 250  # MB; the text at once takes 400
