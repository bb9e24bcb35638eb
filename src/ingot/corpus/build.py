"""Raw text to token shards, in two streaming passes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingot.corpus.baseline import compressed_bits_per_byte
from ingot.corpus.config import CorpusConfig
from ingot.corpus.corpus import Corpus, open_corpus
from ingot.corpus.documents import Document, iter_documents
from ingot.corpus.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    TOKENIZER,
    BaselineRecord,
    CorpusManifest,
    SkippedRecord,
    SplitMode,
    SplitRecord,
    content_digest,
)
from ingot.corpus.progress import ProgressCallback, ProgressTeller
from ingot.corpus.report import ReadReport
from ingot.corpus.sample import DocumentSample
from ingot.corpus.sources import find_files, fingerprint_files
from ingot.corpus.split import SplitCensus, split_document
from ingot.corpus.staging import refuse_occupied, staged_folder
from ingot.corpus.writer import BaselineText, CorpusWriter
from ingot.errors import CorpusError
from ingot.files import write_atomic
from ingot.model.tokenizer import Tokenizer


def build_corpus(
    sources: Sequence[Path],
    out: Path,
    config: CorpusConfig,
    *,
    tokenizer: Tokenizer | None = None,
    progress: ProgressCallback | None = None,
) -> Corpus:
    """Turn text into a corpus folder: tokenizer, token shards and manifest.

    The first pass reads and splits the text and trains the tokenizer on a
    sample of the training side; the second tokenizes and writes. The folder
    is made beside ``out`` under a hidden name and renamed last, so ``out``
    holds a whole corpus or nothing. The same documents in the same order give
    the same digest wherever they lie.

    Args:
        sources: Files and folders; see ``iter_documents``.
        out: The folder to make; it must be absent or empty.
        config: Sizes and choices.
        tokenizer: Used as it is instead of training one.
        progress: Called about 20 times a second with how far the current phase is.

    Raises:
        CorpusError: there is too little text or something in it is damaged, the
            sources changed meanwhile, or ``out`` is in use.
        ResourceError: the disk is full.
    """
    refuse_occupied(out)
    if tokenizer is not None and tokenizer.vocab_size > config.vocab_size:
        raise CorpusError(
            f"has {tokenizer.vocab_size} tokens, vocab_size allows {config.vocab_size}",
            where="tokenizer",
            fix=f"set vocab_size to {tokenizer.vocab_size}",
        )
    teller = ProgressTeller(progress)
    fingerprint = sources_fingerprint(sources, config, tokenizer=tokenizer)
    survey = _survey(sources, config, teller, sampling=tokenizer is None)
    with staged_folder(out) as folder:
        chosen = tokenizer or _train_tokenizer(survey, config, teller)
        tokenizer_json = chosen.to_json().encode()
        write_atomic(folder / TOKENIZER, tokenizer_json)
        # Read back, so that the tokens are made by the tokenizer that is stored.
        stored = Tokenizer.from_json(tokenizer_json.decode())
        train, validation, text = _tokenize(sources, folder, config, stored, survey, teller)
        if sources_fingerprint(sources, config, tokenizer=tokenizer) != fingerprint:
            raise _changed(sources)
        tokenizer_sha256 = hashlib.sha256(tokenizer_json).hexdigest()
        manifest = CorpusManifest(
            digest=content_digest(tokenizer_sha256, stored.vocab_size, train, validation),
            vocab_size=stored.vocab_size,
            tokenizer_sha256=tokenizer_sha256,
            split=survey.mode,
            train=train,
            validation=validation,
            skipped=_skipped(survey.report),
            config=config,
            sources_fingerprint=fingerprint,
            baseline=_baseline(text, teller) if text else None,
        )
        write_atomic(folder / MANIFEST, manifest.to_json())
    return open_corpus(out)


def sources_fingerprint(
    sources: Sequence[Path], config: CorpusConfig, *, tokenizer: Tokenizer | None = None
) -> str:
    """Return a digest that changes when the sources, the config or the tokenizer do.

    Cheap: it looks at paths, sizes and modification times, not at contents.
    Compare it with ``manifest.sources_fingerprint`` to see whether a corpus
    built earlier still serves.

    Raises:
        CorpusError: a source is missing.
    """
    files = find_files(sources, ReadReport(), suffixes=config.suffixes)
    parts = [
        str(FORMAT_VERSION),
        config.model_dump_json(),
        fingerprint_files(files),
        tokenizer.to_json() if tokenizer else "",
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Survey:
    """What the first pass found."""

    report: ReadReport
    mode: SplitMode
    sample: DocumentSample


def _documents(
    sources: Sequence[Path], report: ReadReport, config: CorpusConfig
) -> Iterator[Document]:
    return iter_documents(sources, report, suffixes=config.suffixes, json_field=config.json_field)


def _survey(
    sources: Sequence[Path], config: CorpusConfig, teller: ProgressTeller, *, sampling: bool
) -> _Survey:
    """Read everything once: count, choose the kind of split, sample for the tokenizer."""
    files = find_files(sources, ReadReport(), suffixes=config.suffixes)
    total = sum(file.size for file in files)
    report = ReadReport()
    census = SplitCensus(config.validation_fraction)
    sample = DocumentSample(config.tokenizer_sample_bytes, config.seed)
    for document in _documents(sources, report, config):
        census.add(document)
        if sampling:
            sample.add(document)
        teller.tell("read", report.source_bytes, total)
    if not report.documents:
        left_out = report.summary()
        raise CorpusError(
            f"no text found{f': {left_out}' if left_out else ''}",
            where=_names(sources),
            fix="give files or folders that hold UTF-8 text",
        )
    teller.tell("read", total, total)
    return _Survey(report, census.mode(), sample)


def _train_tokenizer(survey: _Survey, config: CorpusConfig, teller: ProgressTeller) -> Tokenizer:
    texts = list(survey.sample.training_texts(survey.mode, config.validation_fraction))
    size = sum(map(len, texts))
    teller.tell("train tokenizer", 0, size)
    tokenizer = Tokenizer.train(texts, config.vocab_size)
    teller.tell("train tokenizer", size, size)
    return tokenizer


def _tokenize(
    sources: Sequence[Path],
    folder: Path,
    config: CorpusConfig,
    tokenizer: Tokenizer,
    survey: _Survey,
    teller: ProgressTeller,
) -> tuple[SplitRecord, SplitRecord, BaselineText | None]:
    """Read everything again and write the shards of both sides."""
    report = ReadReport()
    baseline = BaselineText() if config.compression_baseline else None
    with CorpusWriter(folder, tokenizer) as writer:
        for document in _documents(sources, report, config):
            for side, text in split_document(document, survey.mode, config.validation_fraction):
                data = text.encode()
                writer.add(side, text, len(data))
                if baseline:
                    baseline.add(side, data)
            teller.tell("tokenize", report.text_bytes, survey.report.text_bytes)
        if report != survey.report:
            raise _changed(sources)
        train, validation = writer.finish()
    return train, validation, baseline


def _baseline(text: BaselineText, teller: ProgressTeller) -> BaselineRecord:
    return compressed_bits_per_byte(
        *text.take(), progress=lambda done, total: teller.tell("compress", done, total)
    )


def _skipped(report: ReadReport) -> dict[str, SkippedRecord]:
    return {
        str(reason): SkippedRecord(count=entry.count, examples=tuple(entry.examples))
        for reason, entry in sorted(report.skipped.items())
    }


def _changed(sources: Sequence[Path]) -> CorpusError:
    return CorpusError(
        "changed while being read",
        where=_names(sources),
        fix="run the same command again when nothing writes there",
    )


def _names(sources: Sequence[Path]) -> str:
    shown = ", ".join(str(source) for source in sources[:3]) or "corpus"
    return shown + (" and more" if len(sources) > 3 else "")
