from __future__ import annotations

import hashlib
import random
from pathlib import Path

from ingot.corpus import Document
from ingot.corpus.build.build_state import BuildState
from ingot.corpus.build.split import is_held_out
from ingot.corpus.build.tokenizer_sample import DocumentSample


def documents(count: int, size: int = 100) -> list[Document]:
    texts = [f"{number:08d}".ljust(size, "x") for number in range(count)]
    return [Document(t, "test", hashlib.sha256(t.encode()).digest(), len(t)) for t in texts]


def sample(offered: list[Document], max_bytes: int, seed: int = 0) -> list[str]:
    kept = DocumentSample(BuildState(), max_bytes, seed)
    for document in offered:
        kept.add(document)
    return list(kept.training_texts("hash", 0.02))


def test_everything_is_kept_while_it_fits() -> None:
    offered = documents(50)
    expected = {each.text for each in offered if not is_held_out(each, 0.02)}
    assert set(sample(offered, 10_000)) == expected


def test_the_order_of_documents_does_not_matter() -> None:
    offered = documents(300)
    first = sample(offered, 5000)
    random.Random(1).shuffle(offered)
    assert sample(offered, 5000) == first
    assert 4000 < sum(map(len, first)) <= 5000


def test_seeds_choose_other_documents() -> None:
    offered = documents(300)
    assert set(sample(offered, 5000, seed=1)) != set(sample(offered, 5000, seed=2))


def test_held_out_documents_are_never_sampled() -> None:
    kept = DocumentSample(BuildState(), 10_000, 0)
    offered = documents(80)
    for document in offered:
        kept.add(document)
    held_out = {each.text for each in offered if is_held_out(each, 0.5)}
    assert held_out
    assert not held_out & set(kept.training_texts("hash", 0.5))


def test_held_out_tails_are_never_sampled() -> None:
    (document,) = documents(1, 1000)
    kept = DocumentSample(BuildState(), 10_000, 0)
    kept.add(document)
    assert sum(map(len, kept.training_texts("tail", 0.02))) == 1000 - 250


def test_one_large_document_is_cut_to_size() -> None:
    assert sum(map(len, sample(documents(3, 50_000), 1000))) == 1000


def test_a_sample_resumes_from_the_build_state(tmp_path: Path) -> None:
    offered = documents(300)
    with BuildState(tmp_path / "state") as state:
        first = DocumentSample(state, 5000, 0)
        for document in offered[:150]:
            first.add(document)
        state.commit()
        for document in offered[150:200]:
            first.add(document)  # lost, as nothing is committed
    with BuildState(tmp_path / "state") as state:
        second = DocumentSample(state, 5000, 0)
        for document in offered[150:]:
            second.add(document)
        assert list(second.training_texts("hash", 0.02)) == sample(offered, 5000)
