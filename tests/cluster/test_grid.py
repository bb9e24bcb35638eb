from __future__ import annotations

import pytest

from ingot.cluster.grid import MOST_TRIALS, parse_over
from ingot.errors import UsageError


def test_every_combination_once_the_last_setting_fastest() -> None:
    grid = parse_over(["optimizer.muon_lr=0.01, 0.02", "run.seed=1,2,3"])
    trials = list(grid)
    assert len(grid) == len(trials) == 6
    assert trials[1].settings == ("optimizer.muon_lr=0.01", "run.seed=2")
    assert trials[3].settings == ("optimizer.muon_lr=0.02", "run.seed=1")
    assert trials[3].name == "003-muon_lr=0.02,seed=1"
    assert len({trial.name for trial in trials}) == 6


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("optimizer.muon_lr=1e-3,2e-3", ("1e-3", "2e-3")),
        ("optimizer.method=muon,adamw", ("muon", "adamw")),
        ("optimizer.betas=[0.9, 0.95],[0.9, 0.99]", ("[0.9, 0.95]", "[0.9, 0.99]")),
        ('optimizer.method="muon","adamw"', ('"muon"', '"adamw"')),
        ("optimizer.clip_norm=null,1", ("null", "1")),
    ],
)
def test_values_are_json_or_text(text: str, values: tuple[str, ...]) -> None:
    (found,) = parse_over([text]).values.values()
    assert found == values


def test_a_value_may_not_leave_the_folder() -> None:
    (trial,) = parse_over(["wandb.project=../../x"])
    assert "/" not in trial.name
    assert trial.settings == ("wandb.project=../../x",)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "--over: says nothing to try; for example: --over optimizer.muon_lr=0.01,0.02"),
        (
            ["optimizer.muonlr=1,2"],
            "unknown setting 'optimizer.muonlr'; did you mean optimizer.muon_lr",
        ),
        (["zzz=1"], "unknown setting 'zzz'; "),
        (["optimizer.muon_lr"], "has no values"),
        (["optimizer.muon_lr="], "has no values"),
        (["optimizer.muon_lr=0.1,,0.2"], "has no values"),
        (["optimizer.muon_lr=0.1,0.1"], "has a value twice; leave one out"),
        (["run.seed=1", "run.seed=2"], "run.seed is given twice; give its values in one"),
        (
            [f"run.seed={','.join(map(str, range(MOST_TRIALS + 1)))}"],
            f"asks for {MOST_TRIALS + 1} runs, at most {MOST_TRIALS} are made; try fewer",
        ),
    ],
)
def test_what_cannot_be_tried_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_over(texts)
    assert message in str(raised.value)
