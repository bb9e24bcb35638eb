from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingot.corpus import (
    Corpus,
    CorpusConfig,
    Part,
    Sampler,
    TokenStore,
    build_corpus,
    open_corpus,
    parse_mix,
)
from ingot.corpus.build.mixing import weights_in_order
from ingot.errors import CorpusError, UsageError

MIX = {"big": 1.0, "small": 3.0, "table.txt": 0.5}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, prose: Callable[[int, int], str]) -> Corpus:
    """Three sources, whose words tell them apart."""
    root = tmp_path_factory.mktemp("mixed")
    for name, count in (("big", 120), ("small", 30)):
        (root / name).mkdir()
        for number in range(count):
            text = f"{name} {number}\n" + prose(number + count, 80)
            (root / name / f"{number}.txt").write_text(text)
    (root / "table.txt").write_text("table\n" + prose(9, 400))
    sources = [root / "big", root / "small" / "..//small", root / "table.txt"]
    config = CorpusConfig(vocab_size=300, validation_fraction=0.1, mix=MIX)
    return build_corpus(sources, root / "corpus", config)


def test_each_source_is_a_stream_of_its_own(mixed: Corpus) -> None:
    manifest = mixed.manifest
    assert [source.name for source in manifest.sources] == ["big", "small", "table.txt"]
    assert [source.share for source in manifest.sources] == [1 / 4.5, 3 / 4.5, 0.5 / 4.5]
    eos = mixed.tokenizer.eos_id
    for part, source in zip(mixed.train.parts, manifest.sources, strict=True):
        ids = mixed.train.read(part.start, part.tokens)
        assert ids[0] == ids[-1] == eos
        texts = mixed.tokenizer.decode(ids.tolist())
        words = {"big", "small", "table"} & set(texts.split())
        assert words == {part.name.removesuffix(".txt")}
        assert len(texts.encode()) == source.train.bytes
        assert np.count_nonzero(ids == eos) == source.train.documents + 1
    assert sum(source.train.tokens for source in manifest.sources) == manifest.train.tokens
    documents = sum(source.validation.documents for source in manifest.sources)
    assert documents == manifest.validation.documents
    for share in ("big 22.2%", "small 66.7%", "table.txt 11.1%"):
        assert share in manifest.summary()


def test_the_weights_are_in_the_digest(mixed: Corpus, tmp_path: Path) -> None:
    root = mixed.path.parent
    sources = [root / "big", root / "small", root / "table.txt"]
    config = mixed.manifest.config
    same = build_corpus(sources, tmp_path / "same", config)
    assert same.manifest.digest == mixed.manifest.digest
    assert open_corpus(same.path, verify=True).train.parts == mixed.train.parts
    other = config.model_copy(update={"mix": {**MIX, "small": 2.0}})
    assert build_corpus(sources, tmp_path / "other", other).manifest.digest != same.manifest.digest


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    weights=st.lists(st.floats(0.01, 100), min_size=2, max_size=5),
    batches=st.integers(1, 60),
    batch=st.integers(1, 16),
    seed=st.integers(0, 99),
)
def test_every_source_has_its_share_at_any_moment(
    make_store: Callable[..., TokenStore],
    weights: list[float],
    batches: int,
    batch: int,
    seed: int,
) -> None:
    sizes = [40 + 37 * number for number in range(len(weights))]
    plain = make_store([[number] * size for number, size in enumerate(sizes)])
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    parts = [
        Part(f"s{number}", weight, start, size)
        for number, (weight, start, size) in enumerate(zip(weights, starts, sizes, strict=True))
    ]
    store = TokenStore(plain.shards, plain.vocab_size, parts)
    sampler = Sampler(store, context=6, batch=batch, seed=seed)
    drawn: Counter[int] = Counter()
    for _ in range(batches):
        windows = sampler.next_batch()
        assert (windows == windows[:, :1]).all()  # no window has two sources in it
        drawn.update(windows[:, 0].tolist())
    total = batches * batch
    for number, weight in enumerate(weights):
        wanted = total * weight / sum(weights)
        assert abs(drawn[number] - wanted) <= len(weights) - 1 + 1e-6 * total
    state = sampler.state()
    resumed = Sampler(store, context=6, batch=batch, seed=seed)
    resumed.restore(state)
    assert resumed.state() == state
    assert resumed.epoch == sampler.epoch
    for _ in range(3):
        assert np.array_equal(resumed.next_batch(), sampler.next_batch())


def test_each_source_is_read_once_an_epoch_of_its_own(mixed: Corpus) -> None:
    sampler = Sampler(mixed.train, context=16, batch=1, seed=5)
    part = mixed.train.parts[1]
    seen: Counter[bytes] = Counter()
    while sampler.state()["part1.epoch"] == 0:
        before = sampler.state()["part1.position"]
        windows = sampler.next_batch()
        if sampler.state()["part1.position"] != before:
            seen[windows.tobytes()] += 1
    windows_in_epoch = (part.tokens - 1) // 16
    assert windows_in_epoch - 1 <= sum(seen.values()) <= windows_in_epoch + 1
    assert sampler.epoch > 0


def test_a_state_of_other_weights_is_refused(mixed: Corpus) -> None:
    sampler = Sampler(mixed.train, context=16, batch=2, seed=5)
    heavier = [
        Part(p.name, p.weight + (p.start == 0), p.start, p.tokens) for p in mixed.train.parts
    ]
    store = TokenStore(mixed.train.shards, mixed.train.vocab_size, heavier)
    with pytest.raises(CorpusError, match="the run was started with weight"):
        Sampler(store, context=16, batch=2, seed=5).restore(sampler.state())
    unmixed = TokenStore(mixed.train.shards, mixed.train.vocab_size)
    with pytest.raises(CorpusError, match="is not a sampler's state"):
        Sampler(unmixed, context=16, batch=2, seed=5).restore(sampler.state())


def test_a_source_shorter_than_a_window_is_named(mixed: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"the training text of table\.txt has \d+ tokens"):
        Sampler(mixed.train, context=mixed.train.parts[2].tokens, batch=1, seed=0)


@pytest.mark.parametrize(
    ("names", "mix", "message"),
    [
        (["wiki", "code"], {"wiki": 1, "cod": 1}, "no source called 'cod'; did you mean 'code'"),
        (["wiki", "code"], {"zzz": 1}, "no source called 'zzz'; there are: wiki, code"),
        (["wiki", "code"], {"wiki": 1}, "the source 'code' has no weight; add code=1"),
        (["wiki", "wiki"], {"wiki": 1}, "two sources are called 'wiki'; rename one"),
    ],
)
def test_a_mix_must_name_each_source_once(
    names: list[str], mix: dict[str, float], message: str
) -> None:
    with pytest.raises(CorpusError, match=f"mix: .*{message}"):
        weights_in_order(names, mix)


def test_a_source_with_nothing_left_is_named(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        for number in range(40):
            (tmp_path / name / f"{number}.txt").write_text(f"the same text {number} " * 5)
    config = CorpusConfig(vocab_size=300, validation_fraction=0.1, mix={"first": 1, "second": 1})
    with pytest.raises(
        CorpusError, match="second: has a weight, but none of its text is left to train on"
    ):
        build_corpus([tmp_path / "first", tmp_path / "second"], tmp_path / "out", config)
    assert not (tmp_path / "out").exists()


def test_weights_are_read_from_text() -> None:
    assert parse_mix([]) is None
    assert parse_mix(["wiki=3", "a=b=0.5"]) == {"wiki": 3.0, "a=b": 0.5}


@pytest.mark.parametrize("text", ["wiki", "=3", "wiki=", "wiki=x", "wiki=0", "wiki=-1", "wiki=nan"])
def test_what_is_no_weight_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"mix: .* is not a name and a weight; write it like"):
        parse_mix([text])


def test_a_weight_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="'a' is given twice"):
        parse_mix(["a=1", "a=2"])
