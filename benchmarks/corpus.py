"""Speed and memory of corpus builds, and the time that training waits for batches.

``python -m benchmarks.corpus [--quick] [--json FILE] [--gigabytes 5]``. The text
is made here: words of a made-up language with the frequencies of a natural one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as Backend

from benchmarks.report import Report, Row, arguments, in_turn, median_and_spread
from ingot.corpus import (
    CorpusConfig,
    PrefetchingSampler,
    Progress,
    Sampler,
    TokenStore,
    build_corpus,
    iter_documents,
    open_corpus,
)
from ingot.corpus.reading.report import ReadReport
from ingot.model.bpe_training import train_by_library
from ingot.model.special_tokens import END_OF_TEXT
from ingot.model.text_pieces import text_pieces
from ingot.model.tokenizer import Tokenizer

LEAST_RATE = 60.0  # MB/s
LEAST_TRAINING = 10.0
MOST_MEMORY = 1e9
MOST_WAITING = 0.01

_FILE_BYTES = 64 << 20
_BATCH_BYTES = 1 << 20  # of the texts that encode_batch is given at a time, as the build does
_STEP_SIZE = 1536  # 7 GFLOP: a short step, so a strict test

_MEASURED_BUILD = """
import re, sys, time
from pathlib import Path
from ingot.corpus import CorpusConfig, build_corpus
started = time.perf_counter()
corpus = build_corpus([Path(sys.argv[1])], Path(sys.argv[2]), CorpusConfig())
seconds = time.perf_counter() - started
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(int(peak[1]) * 1024, corpus.manifest.train.bytes + corpus.manifest.validation.bytes, seconds)
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes and repeats of a run of the benchmark."""

    rate_bytes: int
    repeats: int
    memory_bytes: int
    steps: int


def main() -> int:
    """Run the benchmark; return 0 if every bar is met."""
    parser = arguments("corpus", "Tokenizing rate, memory and waiting.")
    parser.add_argument(
        "--gigabytes", type=float, default=5.0, help="size of the corpus whose memory is measured"
    )
    parser.add_argument("--folder", type=Path, help="where to put the text and the corpora")
    given = parser.parse_args()
    if not 0.001 <= given.gigabytes <= 1000:
        parser.error("--gigabytes must be between 0.001 and 1000")
    sizes = (
        Sizes(8 << 20, 3, 8 << 20, 30)
        if given.quick
        else Sizes(24 << 20, 5, int(given.gigabytes * 1e9), 300)
    )
    report = Report(
        "corpus",
        settings={"quick": given.quick, "vocab_size": CorpusConfig().vocab_size}
        | {name: getattr(sizes, name) for name in Sizes.__slots__},
        packages=("ingot", "tokenizers", "numpy"),
    )
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="ingot-corpus-") as folder:
        measure_rate(report, Path(folder) / "rate", sizes)
        measure_training(report, Path(folder) / "rate" / "text", sizes)
        measure_waiting(report, Path(folder) / "rate" / "0", sizes)
        measure_memory(report, Path(folder) / "memory", sizes, quick=given.quick)
    return report.finish(given.json)


def measure_rate(report: Report, folder: Path, sizes: Sizes) -> None:
    """Compare a build with ``tokenizers`` alone on the same text in memory."""
    source = folder / "text"
    write_text(source, sizes.rate_bytes, seed=1)
    texts = [document.text for document in iter_documents([source], ReadReport())]
    size = sum(len(text.encode()) for text in texts)
    tokenizer = Tokenizer.train(texts[: len(texts) // 4], CorpusConfig().vocab_size)
    backend = Backend.from_str(tokenizer.to_json())
    batches = list(in_batches(texts))
    second_pass: list[float] = []

    def alone(encode: Callable[..., object]) -> float:
        started = time.perf_counter()
        for batch in batches:
            encode(batch, add_special_tokens=False)
        return size / (time.perf_counter() - started) / 1e6

    def whole_build() -> float:
        began_pass: list[float] = []

        def watch(progress: Progress) -> None:
            if progress.phase == "tokenize" and not began_pass:
                began_pass.append(time.perf_counter())

        started = time.perf_counter()
        build_corpus(
            [source],
            folder / str(len(second_pass)),
            CorpusConfig(),
            tokenizer=tokenizer,
            progress=watch,
        )
        ended = time.perf_counter()
        second_pass.append(size / (ended - began_pass[0]) / 1e6)
        return size / (ended - started) / 1e6

    sides = {
        "raw": lambda: alone(backend.encode_batch),
        "fast": lambda: alone(backend.encode_batch_fast),
        "core": lambda: alone(lambda batch, **_: tokenizer.encode_arrays(batch)),
        "build": whole_build,
    }
    figures = in_turn(sides, sizes.repeats)
    add_rates(report, figures, second_pass)


def add_rates(report: Report, figures: dict[str, list[float]], second_pass: list[float]) -> None:
    """Add the rates; ratios are medians over pairs measured one after the other.

    ``encode_batch_fast`` leaves out where each token lies in the text.
    """
    raw = figures["raw"]
    peer, peer_spread = median_and_spread(raw)
    report.add(Row("encode_batch of tokenizers alone", peer, "MB/s", peer_spread))
    for name, rates, bar in (
        ("encode_batch_fast of tokenizers alone", figures["fast"], None),
        ("encode_arrays of the native core, one thread", figures["core"], None),
        ("second pass: read, tokenize and write", second_pass, None),
        ("whole build, both passes", figures["build"], f"≥ {LEAST_RATE:.0f} MB/s"),
    ):
        rate, spread = median_and_spread(rates)
        ratio, _ = median_and_spread(
            [ours / theirs for ours, theirs in zip(rates, raw, strict=True)]
        )
        report.add(
            Row(
                name,
                rate,
                "MB/s",
                spread,
                peer="encode_batch",
                peer_value=peer,
                ratio=ratio,
                bar=bar,
                met=rate >= LEAST_RATE if bar else None,
            )
        )


def measure_training(report: Report, source: Path, sizes: Sizes) -> None:
    """Compare the training of a tokenizer with that by the library, on the same text in memory."""
    texts = [document.text for document in iter_documents([source], ReadReport())]
    size = sum(len(text.encode()) for text in texts)
    vocab_size = CorpusConfig().vocab_size

    def seconds(train: Callable[[], object]) -> float:
        started = time.perf_counter()
        train()
        return time.perf_counter() - started

    def by_library() -> float:
        pieces = (piece for text in texts for piece in text_pieces(text, 1 << 16))
        return seconds(lambda: train_by_library(pieces, vocab_size, special=END_OF_TEXT))

    sides = {
        "core": lambda: seconds(lambda: Tokenizer.train(texts, vocab_size)),
        "library": by_library,
    }
    figures = in_turn(sides, sizes.repeats)
    core, spread = median_and_spread(figures["core"])
    library, _ = median_and_spread(figures["library"])
    report.add(
        Row(
            f"training a tokenizer of {vocab_size} tokens on {size / 1e6:.0f} MB",
            core,
            "s",
            spread,
            peer="tokenizers",
            peer_value=library,
            ratio=library / core,
            bar=f"≥ {LEAST_TRAINING:.0f} times as fast",
            met=library >= LEAST_TRAINING * core,
        )
    )


def measure_waiting(report: Report, corpus: Path, sizes: Sizes) -> None:
    """Measure the share of a step spent waiting for its batch, with and without prefetching.

    The step is a matrix product on all cores; each batch is 16 windows of 256 tokens.
    """
    store = open_corpus(corpus).train
    plain = waiting_share(store, sizes.steps, prefetch=False)
    ahead = waiting_share(store, sizes.steps, prefetch=True)
    report.add(
        Row(
            "share of a step spent waiting for its batch",
            ahead * 100,
            "%",
            peer="drawn in the step",
            peer_value=plain * 100,
            limit=MOST_WAITING * 100,
            bar=f"≤ {MOST_WAITING:.0%}",
            met=ahead <= MOST_WAITING,
        )
    )


def waiting_share(store: TokenStore, steps: int, *, prefetch: bool) -> float:
    """Return the time spent in ``next_batch`` as a share of the whole."""
    sampler = Sampler(store, context=256, batch=16, seed=0)
    matrix = np.ones((_STEP_SIZE, _STEP_SIZE), np.float32)
    waited = 0.0
    source = PrefetchingSampler(sampler) if prefetch else sampler
    began = time.perf_counter()
    for _ in range(steps):
        started = time.perf_counter()
        source.next_batch()
        waited += time.perf_counter() - started
        matrix @ matrix
    total = time.perf_counter() - began
    if isinstance(source, PrefetchingSampler):
        source.close()
    return waited / total


def measure_memory(report: Report, folder: Path, sizes: Sizes, *, quick: bool) -> None:
    """Build a corpus in a separate process and add its peak resident memory."""
    source = folder / "text"
    write_text(source, sizes.memory_bytes, seed=2)
    done = subprocess.run(  # noqa: S603  our own interpreter and script
        [sys.executable, "-c", _MEASURED_BUILD, source, folder / "corpus"],
        stdout=subprocess.PIPE,
        check=True,
    )
    peak, size, seconds = map(float, done.stdout.split())
    report.add(
        Row(
            f"peak resident memory, building {size / 1e9:.3g} GB",
            peak / 1e6,
            "MB",
            bar=f"≤ {MOST_MEMORY / 1e9:.0f} GB",
            met=peak <= MOST_MEMORY,
        )
    )
    rate = size / seconds / 1e6
    report.add(
        Row(
            "that build, tokenizer included",
            rate,
            "MB/s",
            bar=f"≥ {LEAST_RATE:.0f} MB/s",
            met=rate >= LEAST_RATE,
        )
    )
    if quick:
        report.note(f"--quick: memory was measured over {size / 1e6:.0f} MB only")


def in_batches(texts: list[str]) -> Iterator[list[str]]:
    """Split a list into batches of about 1 MiB."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def write_text(folder: Path, size: int, *, seed: int) -> None:
    """Write about ``size`` bytes of documents as JSONL files."""
    folder.mkdir(parents=True)
    documents = make_documents(seed)
    number = 0
    while size > 0:
        room = min(size, _FILE_BYTES)
        size -= room
        with (folder / f"{number:05d}.jsonl").open("w") as file:
            while room > 0:
                room -= file.write(json.dumps({"text": next(documents)}) + "\n")
        number += 1


def make_documents(seed: int) -> Iterator[str]:
    """Yield documents without end: sentences of words drawn by Zipf's law, numbers, paragraphs."""
    rng = np.random.default_rng(seed)
    words = np.array(make_words(rng, 60_000), dtype=object)
    chance = 1 / np.arange(1, len(words) + 1)
    steps = np.cumsum(chance / chance.sum())
    ends = np.array([" ", ", ", ". ", ".\n\n"], dtype=object)
    while True:
        block = words[np.searchsorted(steps, rng.random(50_000)).clip(max=len(words) - 1)]
        block = block + rng.choice(ends, len(block), p=[0.86, 0.06, 0.07, 0.01])
        start = 0
        while start < len(block) - 1000:
            length = int(rng.lognormal(5.7, 0.8)) + 1
            yield f"{rng.integers(1 << 40)} " + "".join(block[start : start + length])
            start += length


def make_words(rng: np.random.Generator, count: int) -> list[str]:
    """Return distinct words of one to four syllables, the short ones first."""
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < count:
        choices = rng.integers(len(syllables), size=(count, 4)).tolist()
        lengths = rng.integers(1, 5, size=count).tolist()
        for choice, length in zip(choices, lengths, strict=True):
            words["".join(map(syllables.__getitem__, choice[:length]))] = None
    return sorted(words, key=len)[:count]


if __name__ == "__main__":
    sys.exit(main())
