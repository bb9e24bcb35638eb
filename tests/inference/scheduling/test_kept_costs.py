from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingot.inference.scheduling.cost_model import CostModel, StepWork
from ingot.inference.scheduling.kept_costs import costs_path, keep_costs, read_costs

DIGEST = "ab" * 32


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def learnt() -> CostModel:
    model = CostModel()
    for tokens in (1, 2, 4, 8, 16, 64, 100) * 10:
        model.observe(StepWork(tokens, 1, 0, tokens * tokens), 0.002 + 1e-4 * tokens)
    return model


def test_costs_are_kept_by_digest_and_setting(cache: Path) -> None:
    path = costs_path(DIGEST, weights="stored", threads=2)
    assert path.parent == cache / "ingot" / "costs"
    assert path == costs_path(DIGEST, threads=2, weights="stored")
    assert len({path, costs_path("cd" * 32), costs_path(DIGEST, weights="int8", threads=2)}) == 3
    assert read_costs(path) is None
    model = learnt()
    keep_costs(path, model)
    kept = read_costs(path)
    assert kept is not None
    work = StepWork(64, 1, 0, 4096)
    assert kept.seconds(work) == pytest.approx(model.seconds(work), rel=0.02)


def test_nothing_is_kept_of_a_model_that_knows_nothing() -> None:
    path = costs_path(DIGEST)
    keep_costs(path, CostModel())
    assert not path.exists()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"gram": []}', b"\xff" * 100, b"x" * 140_000])
def test_a_file_that_is_not_one_of_ours_is_not_used(data: bytes) -> None:
    path = costs_path(DIGEST)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    assert read_costs(path) is None


def test_a_state_with_a_number_that_is_not_finite_is_not_used() -> None:
    path = costs_path(DIGEST)
    keep_costs(path, learnt())
    text = path.read_text()
    path.write_text(text.replace(text.split('"moment":[')[1].split(",")[0], "NaN", 1))
    assert read_costs(path) is None


def test_a_state_whose_numbers_decayed_is_not_used() -> None:
    path = costs_path(DIGEST)
    keep_costs(path, learnt())
    data = json.loads(path.read_text())
    for kind in data["kinds"]:
        kind["gram"][-1][-1] *= 1e-70
    path.write_text(json.dumps(data))
    assert read_costs(path) is None


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_costs(costs_path(DIGEST), learnt())
