from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.corpus import (
    Corpus,
    CorpusConfig,
    Document,
    ReadReport,
    Shard,
    TokenStore,
    build_corpus,
    iter_documents,
    make_config,
)
from ingot.corpus.store.shards import ShardWriter

WORDS = (
    "the",
    "iron",
    "of",
    "a",
    "furnace",
    "is",
    "poured",
    "red",
    "hot",
    "into",
    "moulds",
    "to",
    "cool",
)


@pytest.fixture(scope="session")
def prose() -> Callable[[int, int], str]:
    """Make some text: (seed, words) -> lines of words."""

    def make(seed: int, words: int) -> str:
        rng = random.Random(seed)
        lines, left = [], words
        while left > 0:
            line = [rng.choice(WORDS) for _ in range(min(left, rng.randint(3, 12)))]
            lines.append(f"{seed} " + " ".join(line))
            left -= len(line)
        return "\n".join(lines) + "\n"

    return make


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, prose: Callable[[int, int], str]) -> Path:
    """A folder of 200 documents, enough for a split by hash."""
    root = tmp_path_factory.mktemp("texts")
    for number in range(200):
        part = root / f"part{number % 3}"
        part.mkdir(exist_ok=True)
        (part / f"{number:03d}.txt").write_text(prose(number, 60))
    return root


@pytest.fixture(scope="session")
def config() -> CorpusConfig:
    return CorpusConfig(vocab_size=320, validation_fraction=0.1)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, folder: Path, config: CorpusConfig) -> Corpus:
    return build_corpus([folder], tmp_path_factory.mktemp("built") / "corpus", config)


@pytest.fixture
def read() -> Callable[..., tuple[list[Document], ReadReport]]:
    """Read sources whole: (*paths, **settings) -> (documents, report)."""

    def run(*paths: Path, **settings: Any) -> tuple[list[Document], ReadReport]:
        report = ReadReport()
        return list(iter_documents(paths, report, config=make_config(**settings))), report

    return run


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., TokenStore]:
    """Write shards: (list of id lists, vocab_size) -> TokenStore."""

    def make(parts: Sequence[Sequence[int]], vocab_size: int = 1000) -> TokenStore:
        shards = []
        for number, ids in enumerate(parts):
            path = tmp_path / f"train-{number:05d}.tokens"
            writer = ShardWriter(path, vocab_size)
            writer.append(np.array(ids, np.int64))
            writer.finish()
            shards.append(Shard(path))
        return TokenStore(shards, vocab_size)

    return make
