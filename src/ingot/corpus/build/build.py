"""Raw text to token shards, in two streaming passes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO

from ingot.corpus.build.build_state import Journal
from ingot.corpus.build.compression_baseline import compressed_bits_per_byte, stored_text
from ingot.corpus.build.first_pass import Survey, Work, survey
from ingot.corpus.build.mixing import source_records, weights_in_order
from ingot.corpus.build.progress import ProgressCallback, ProgressTeller
from ingot.corpus.build.second_pass import changed, pack
from ingot.corpus.build.staging import Workplace, refuse_occupied, workplace
from ingot.corpus.build.writer import Tallies
from ingot.corpus.config import CorpusConfig
from ingot.corpus.reading.files import fingerprint_files
from ingot.corpus.reading.hub import PREFIX
from ingot.corpus.reading.inputs import Input, find_input_files, gather
from ingot.corpus.reading.report import ReadReport
from ingot.corpus.store.corpus import Corpus, open_corpus
from ingot.corpus.store.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    TOKENIZER,
    BaselineRecord,
    CorpusManifest,
    SideRecord,
    SkippedRecord,
    content_digest,
)
from ingot.errors import CorpusError, IngotError, Interrupted
from ingot.files import write_atomic
from ingot.model.tokenizer import Tokenizer


def build_corpus(
    sources: Sequence[Path],
    out: Path,
    config: CorpusConfig,
    *,
    tokenizer: Tokenizer | None = None,
    progress: ProgressCallback | None = None,
    stdin: BinaryIO | None = None,
) -> Corpus:
    """Turn text into a corpus folder: tokenizer, token shards and manifest.

    The first pass reads and splits the text and trains the tokenizer on a
    sample of the training side; the second tokenizes and writes. The folder
    is made beside ``out`` under a hidden name and renamed last, so ``out``
    holds a whole corpus or nothing. A build that was killed goes on from its
    last checkpoint when it is called again with the same arguments, and gives
    the same bytes. The same documents in the same order give the same digest
    wherever they lie.

    Args:
        sources: Files and folders (see ``iter_documents``), ``-`` for standard input,
            ``hf:owner/name[:config][:split]`` for a dataset of the Hugging Face hub.
        out: The folder to make; it must be absent or empty.
        config: Sizes and choices.
        tokenizer: Used as it is instead of training one.
        progress: Called about 20 times a second with how far the current phase is.
        stdin: Read for ``-`` in place of the process's own.

    Raises:
        CorpusError: there is too little text or something in it is damaged, the
            sources changed meanwhile, or ``out`` is in use.
        ResourceError: the disk is full.
        Interrupted: Ctrl-C came after a checkpoint, which is kept.
    """
    refuse_occupied(out)
    if tokenizer is not None and tokenizer.vocab_size > config.vocab_size:
        raise CorpusError(
            f"has {tokenizer.vocab_size} tokens, vocab_size allows {config.vocab_size}",
            where="tokenizer",
            fix=f"set vocab_size to {tokenizer.vocab_size}",
        )
    teller = ProgressTeller(progress)
    with workplace(out) as place:
        inputs = gather(sources, config, place.path, stdin)
        weights = _weights(inputs, config)
        fingerprint = _fingerprint(inputs, config, tokenizer)
        try:
            with _journal(place, fingerprint) as journal:
                # A dataset once fetched is worth keeping as it is.
                place.keep |= any(item.name.startswith(PREFIX) for item in inputs)
                work = Work(inputs, config, place, journal, teller)
                manifest = _make(work, weights, fingerprint, tokenizer)
        except CorpusError:
            place.keep = False  # the same work would fail the same way
            raise
        except KeyboardInterrupt as error:
            if not place.keep:
                raise
            raise Interrupted(
                "the build was stopped", where=out, fix="run the same command again to go on"
            ) from error
        write_atomic(place.result / MANIFEST, manifest.to_json())
    return open_corpus(out)


def sources_fingerprint(
    sources: Sequence[Path], config: CorpusConfig, *, tokenizer: Tokenizer | None = None
) -> str:
    """Return a digest that changes when the sources, the config or the tokenizer do.

    Cheap: it looks at paths, sizes and modification times, not at contents.
    Compare it with ``manifest.sources_fingerprint`` to see whether a corpus
    built earlier still serves. Standard input and datasets have none.

    Raises:
        CorpusError: a source is missing.
    """
    return _fingerprint([Input(path.name, path) for path in sources], config, tokenizer)


def _weights(inputs: Sequence[Input], config: CorpusConfig) -> list[float]:
    """Return the weight of each input; none if they are not mixed."""
    return weights_in_order([item.name for item in inputs], config.mix) if config.mix else []


def _fingerprint(inputs: Sequence[Input], config: CorpusConfig, tokenizer: Tokenizer | None) -> str:
    parts = [
        str(FORMAT_VERSION),
        config.model_dump_json(),
        fingerprint_files(find_input_files(inputs, ReadReport(), config)),
        tokenizer.to_json() if tokenizer else "",
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _journal(place: Workplace, fingerprint: str) -> Journal:
    """Open the journal of the same build, or begin a new one."""
    identity = [fingerprint, *map(_version, ("ingot", "tokenizers", "rensa"))]
    if place.journal.exists():
        try:
            journal = Journal(place.journal)
            if journal.get("identity") == identity:
                place.keep = True
                return journal
            journal.close()
        except IngotError:
            pass  # half a journal is none
    place.clear()
    journal = Journal(place.journal)
    journal.put("identity", identity)
    journal.commit()
    return journal


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _make(
    work: Work, weights: Sequence[float], fingerprint: str, tokenizer: Tokenizer | None
) -> CorpusManifest:
    """Do both passes and return what they made."""
    found = survey(work, sampling=tokenizer is None)
    stored = _stored_tokenizer(work, found, tokenizer)
    (train, train_tallies), (validation, validation_tallies) = pack(work, stored, found)
    if _fingerprint(work.inputs, work.config, tokenizer) != fingerprint:
        raise changed(work)
    sources = source_records(
        [item.name for item in work.inputs] if weights else [],
        weights,
        _in_order(train_tallies, len(weights)),
        _in_order(validation_tallies, len(weights)),
    )
    tokenizer_sha256 = hashlib.sha256((work.place.result / TOKENIZER).read_bytes()).hexdigest()
    manifest = CorpusManifest(
        digest=content_digest(tokenizer_sha256, stored.vocab_size, train, validation, sources),
        vocab_size=stored.vocab_size,
        tokenizer_sha256=tokenizer_sha256,
        split=found.mode,
        train=train,
        validation=validation,
        skipped=_skipped(found.report),
        config=work.config,
        sources_fingerprint=fingerprint,
        sources=sources,
    )
    if not work.config.compression_baseline:
        return manifest
    return manifest.model_copy(update={"baseline": _baseline(work, manifest, stored)})


def _stored_tokenizer(work: Work, found: Survey, given: Tokenizer | None) -> Tokenizer:
    """Train the tokenizer unless it is given, store it, and return it as it was stored."""
    path = work.place.result / TOKENIZER
    if not work.journal.get("tokenizer"):
        tokenizer = given or _train_tokenizer(work, found)
        write_atomic(path, tokenizer.to_json().encode())
        work.journal.put("tokenizer", True)
        work.journal.commit()
    return Tokenizer.from_file(path)


def _train_tokenizer(work: Work, found: Survey) -> Tokenizer:
    texts = list(found.sample.training_texts(found.mode, work.config.validation_fraction))
    size = sum(map(len, texts))
    work.teller.tell("train tokenizer", 0, size)
    tokenizer = Tokenizer.train(texts, work.config.vocab_size)
    work.teller.tell("train tokenizer", size, size)
    return tokenizer


def _baseline(work: Work, manifest: CorpusManifest, tokenizer: Tokenizer) -> BaselineRecord:
    training, validation = stored_text(work.place.result, manifest, tokenizer)
    return compressed_bits_per_byte(
        training,
        validation,
        progress=lambda done, total: work.teller.tell("compress", done, total),
    )


def _in_order(tallies: Tallies, count: int) -> list[SideRecord]:
    return [tallies.get(number, SideRecord()) for number in range(count)]


def _skipped(report: ReadReport) -> dict[str, SkippedRecord]:
    return {
        str(reason): SkippedRecord(count=entry.count, examples=tuple(entry.examples))
        for reason, entry in sorted(report.skipped.items())
    }
