"""Corpus build: raw text to token shards in two streaming passes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO

from ingot.corpus.build.build_state import BuildState
from ingot.corpus.build.compression_baseline import compressed_bits_per_byte, stored_text
from ingot.corpus.build.first_pass import (
    CHECKED_BYTES,
    FirstPassResult,
    Work,
    run_first_pass,
)
from ingot.corpus.build.mixing import source_records, weights_in_order
from ingot.corpus.build.progress import ProgressCallback, ProgressReporter
from ingot.corpus.build.second_pass import changed, run_second_pass
from ingot.corpus.build.staging import StagingDir, refuse_occupied, staging_dir, stopped_build
from ingot.corpus.build.tokenizer_worker import train_tokenizer
from ingot.corpus.build.writer import SourceTotals
from ingot.corpus.config import CorpusConfig
from ingot.corpus.reading.files import FileList
from ingot.corpus.reading.hub import PREFIX
from ingot.corpus.reading.inputs import Input, list_input_files, resolve_inputs
from ingot.corpus.reading.listing import list_files
from ingot.corpus.reading.report import ReadReport
from ingot.corpus.reading.selection import Selection
from ingot.corpus.store.corpus import Corpus, open_corpus, read_stored_tokenizer
from ingot.corpus.store.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    TOKENIZER,
    TOKENIZER_CONFIG,
    BaselineRecord,
    CorpusManifest,
    SideRecord,
    SkippedRecord,
    content_digest,
)
from ingot.errors import CorpusError, IngotError
from ingot.files import write_atomic
from ingot.model.tokenizer import Tokenizer

_STATE_LAYOUT = 2  # of the tables; those of another one are not resumed


def build_corpus(
    sources: Sequence[Path],
    out: Path,
    config: CorpusConfig,
    *,
    tokenizer: Tokenizer | None = None,
    progress: ProgressCallback | None = None,
    stdin: BinaryIO | None = None,
    files: FileList | None = None,
) -> Corpus:
    """Turn text into a corpus folder: tokenizer, token shards and manifest.

    The first pass reads and splits the text and trains the tokenizer on a
    sample of the training side; the second tokenizes and writes. The folder
    is made beside ``out`` under a hidden name and renamed last, so ``out``
    holds a complete corpus or nothing. A build that was killed resumes from its
    last checkpoint when it is called again with the same arguments, and gives
    the same bytes. The same documents in the same order give the same digest
    wherever they are stored.

    Args:
        sources: Files and folders (see ``iter_documents``), ``-`` for standard input,
            ``hf:owner/name[:config][:split]`` for a dataset of the Hugging Face hub.
        out: The folder to create; it must be absent or empty.
        config: Sizes and choices.
        tokenizer: Used as it is instead of training one.
        progress: Called about 20 times a second with the progress of the current phase.
        stdin: Read for ``-`` instead of the process's own.
        files: What ``list_sources`` returned for the same sources and config, so that folders
            are listed once; None lists them here.

    Raises:
        CorpusError: there is too little text or some of it is damaged, the
            sources changed meanwhile, or ``out`` is in use.
        ResourceError: the disk is full.
        Interrupted: Ctrl-C came; the message says what was kept.
    """
    refuse_occupied(out)
    if tokenizer is not None and tokenizer.vocab_size > config.vocab_size:
        raise CorpusError(
            f"has {tokenizer.vocab_size} tokens, vocab_size allows {config.vocab_size}",
            where="tokenizer",
            fix=f"set vocab_size to {tokenizer.vocab_size}",
        )
    try:
        with staging_dir(out) as staging:
            manifest = _build(sources, config, staging, tokenizer, progress, stdin, files)
            write_atomic(staging.result / MANIFEST, manifest.to_json())
    except KeyboardInterrupt as error:
        raise stopped_build(out) from error
    return open_corpus(out)


def _build(
    sources: Sequence[Path],
    config: CorpusConfig,
    staging: StagingDir,
    tokenizer: Tokenizer | None,
    progress: ProgressCallback | None,
    stdin: BinaryIO | None,
    files: FileList | None,
) -> CorpusManifest:
    """Build in the staging folder; return the manifest of the result."""
    inputs = resolve_inputs(sources, config, staging.path, stdin)
    weights = _weights(inputs, config)
    files = files or list_input_files(inputs, config)
    fingerprint = _fingerprint(files, config, tokenizer)
    try:
        with _open_state(staging, fingerprint) as state:
            # A fetched dataset is worth keeping even before the first checkpoint.
            if not staging.keep and any(item.name.startswith(PREFIX) for item in inputs):
                staging.keep_as("fetched text")
            work = Work(inputs, files, config, staging, state, ProgressReporter(progress))
            return _make(work, weights, fingerprint, tokenizer)
    except CorpusError:
        staging.keep = False  # the same build would fail in the same way
        raise


def sources_fingerprint(
    sources: Sequence[Path],
    config: CorpusConfig,
    *,
    tokenizer: Tokenizer | None = None,
    files: FileList | None = None,
) -> str:
    """Return a digest that changes when the sources, the config or the tokenizer do.

    It reads paths, sizes and modification times, not contents. A corpus whose
    ``manifest.sources_fingerprint`` is equal was built from the same text.
    Standard input and datasets have no fingerprint.

    Args:
        sources: Files and folders.
        config: Sizes and choices.
        tokenizer: The tokenizer, if one is given instead of trained.
        files: What ``list_sources`` returned for the same sources and config.

    Raises:
        CorpusError: a source is missing.
    """
    return _fingerprint(files or list_sources(sources, config), config, tokenizer)


def list_sources(sources: Sequence[Path], config: CorpusConfig) -> FileList:
    """List the files of sources once, for ``build_corpus`` and ``sources_fingerprint``.

    Raises:
        CorpusError: a source is missing.
    """
    return list_files(sources, Selection.of(config), encoding=config.encoding)


def _weights(inputs: Sequence[Input], config: CorpusConfig) -> list[float]:
    """Return the weight of each input; an empty list if they are not mixed."""
    return weights_in_order([item.name for item in inputs], config.mix) if config.mix else []


def _fingerprint(files: FileList, config: CorpusConfig, tokenizer: Tokenizer | None) -> str:
    parts = [
        str(FORMAT_VERSION),
        config.model_dump_json(),
        files.fingerprint(),
        tokenizer.to_json() if tokenizer else "",
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _open_state(staging: StagingDir, fingerprint: str) -> BuildState:
    """Open the state of the same build, or begin a new one."""
    identity = [_STATE_LAYOUT, fingerprint, *map(_version, ("ingot", "tokenizers", "rensa"))]
    if staging.state_file.exists():
        try:
            state = BuildState(staging.state_file)
            if state.get("identity") == identity:
                staging.keep = True
                return state
            state.close()
        except IngotError:
            pass  # a damaged state is discarded
    staging.clear()
    state = BuildState(staging.state_file)
    state.put("identity", identity)
    state.commit()
    return state


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _make(
    work: Work, weights: Sequence[float], fingerprint: str, tokenizer: Tokenizer | None
) -> CorpusManifest:
    """Run both passes and return the manifest of their result."""
    first = run_first_pass(work, sampling=tokenizer is None)
    stored, tokenizer_sha256 = _stored_tokenizer(work, first, tokenizer)
    checked = first.sample.training_texts(first.mode, work.config.validation_fraction)
    by_core = stored.use_library_unless_equal(_at_most(checked, CHECKED_BYTES))
    (train, train_totals), (validation, validation_totals) = run_second_pass(work, stored, first)
    _check_unchanged(work)
    sources = source_records(
        [item.name for item in work.inputs] if weights else [],
        weights,
        _in_order(train_totals, len(weights)),
        _in_order(validation_totals, len(weights)),
    )
    manifest = CorpusManifest(
        digest=content_digest(tokenizer_sha256, stored.vocab_size, train, validation, sources),
        vocab_size=stored.vocab_size,
        tokenizer_sha256=tokenizer_sha256,
        split=first.mode,
        train=train,
        validation=validation,
        skipped=_skipped(first.report),
        config=work.config,
        sources_fingerprint=fingerprint,
        sources=sources,
        tokenized_by="ingot" if by_core else "tokenizers",
    )
    if not work.config.compression_baseline:
        return manifest
    return manifest.model_copy(update={"baseline": _baseline(work, manifest, stored)})


def _check_unchanged(work: Work) -> None:
    """Check that no file was added or removed since the sources were listed.

    Files that changed are found when they are opened. Folders are listed again only if
    their modification time differs, to see whether the change concerns a source file.

    Raises:
        CorpusError: the files are not those that were listed.
    """
    if work.files.folders_changed():
        again = list_input_files(work.inputs, work.config)
        if again.fingerprint() != work.files.fingerprint():
            raise changed(work)


def _stored_tokenizer(
    work: Work, first: FirstPassResult, given: Tokenizer | None
) -> tuple[Tokenizer, str]:
    """Train the tokenizer unless it is given, store it; return the stored one and its digest."""
    path = work.staging.result / TOKENIZER
    if not work.state.get("tokenizer"):
        tokenizer = given or _train_tokenizer(work, first)
        write_atomic(path, tokenizer.to_json().encode())
        if not tokenizer.is_plain:
            write_atomic(work.staging.result / TOKENIZER_CONFIG, tokenizer.hf_config().encode())
        work.state.put("tokenizer", True)
        work.state.commit()
        work.staging.keep_as("first pass and tokenizer")
    return read_stored_tokenizer(work.staging.result)


def _at_most(texts: Iterable[str], characters: int) -> list[str]:
    """Return the first texts, cut to so many characters in all."""
    taken = []
    for text in texts:
        taken.append(text[:characters])
        characters -= len(taken[-1])
        if not characters:
            break
    return taken


def _train_tokenizer(work: Work, first: FirstPassResult) -> Tokenizer:
    texts = list(first.sample.training_texts(first.mode, work.config.validation_fraction))
    size = sum(map(len, texts))
    work.progress.report("train tokenizer", 0, size)
    tokenizer = train_tokenizer(texts, work.config.vocab_size)
    work.progress.report("train tokenizer", size, size)
    return tokenizer


def _baseline(work: Work, manifest: CorpusManifest, tokenizer: Tokenizer) -> BaselineRecord:
    training, validation = stored_text(work.staging.result, manifest, tokenizer)
    return compressed_bits_per_byte(
        training,
        validation,
        progress=lambda done, total: work.progress.report("compress", done, total),
    )


def _in_order(totals: SourceTotals, count: int) -> list[SideRecord]:
    return [totals.get(number, SideRecord()) for number in range(count)]


def _skipped(report: ReadReport) -> dict[str, SkippedRecord]:
    return {
        str(reason): SkippedRecord(count=entry.count, examples=tuple(entry.examples))
        for reason, entry in sorted(report.skipped.items())
    }
