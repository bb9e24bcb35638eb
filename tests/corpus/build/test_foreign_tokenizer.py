"""A corpus that is built for a model which was not trained here."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingot.corpus import CorpusConfig, build_corpus, open_corpus
from ingot.errors import CorpusError
from ingot.model.tokenizer_files import read_tokenizer
from tests.model.published_tokenizers import files


def test_documents_begin_and_end_as_the_models_do(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(files("gemma"))
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(f"Text {number} of some words.\n" * 9)
    built = build_corpus(
        [tmp_path], tmp_path / "corpus", CorpusConfig(vocab_size=700), tokenizer=tokenizer
    )
    corpus = open_corpus(built.path, verify=True)
    assert corpus.tokenizer.to_json() == tokenizer.to_json()
    assert (corpus.tokenizer.eos_id, corpus.tokenizer.prefix) == (
        tokenizer.eos_id,
        tokenizer.prefix,
    )
    ids = corpus.train.read(0, len(corpus.train)).tolist()
    documents = corpus.manifest.train.documents
    assert ids[:2] == [tokenizer.eos_id, tokenizer.bos_id]
    assert ids.count(tokenizer.bos_id) == documents
    assert ids.count(tokenizer.eos_id) == documents + 1
    (built.path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(CorpusError, match="tokenizer"):
        open_corpus(built.path)
