from __future__ import annotations

import pytest
from pydantic import ValidationError

from ingot.corpus import CorpusConfig, make_config
from ingot.errors import UsageError


@pytest.mark.parametrize(
    "settings",
    [
        {"vocab_size": 256},
        {"vocab_size": (1 << 20) + 1},
        {"vocab_size": 300, "validation_fraction": 0.0},
        {"vocab_size": 300, "validation_fraction": 0.51},
        {"vocab_size": 300, "validation_fraction": float("nan")},
        {"vocab_size": 300, "seed": -1},
        {"vocab_size": 300, "json_field": ""},
        {"vocab_size": 300, "vocabulary": 1},
        {"stdin_format": "xml"},
        {"near_duplicates": 0.5},
        {"near_duplicates": 1.1},
        {"mix": {}},
        {"mix": {"a": 0}},
        {"mix": {"a": float("inf")}},
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CorpusConfig.model_validate(settings)


def test_a_config_cannot_change_and_survives_json() -> None:
    config = CorpusConfig(vocab_size=300, suffixes=(".py",))
    with pytest.raises(ValidationError):
        config.vocab_size = 400  # type: ignore[misc]
    assert CorpusConfig.model_validate_json(config.model_dump_json(), strict=True) == config


def test_weights_in_another_order_are_the_same_config() -> None:
    one, two = CorpusConfig(mix={"a": 1, "b": 2}), CorpusConfig(mix={"b": 2, "a": 1})
    assert one.model_dump_json() == two.model_dump_json()


def test_a_wrong_value_is_named_in_one_line() -> None:
    assert make_config(vocab_size=300) == CorpusConfig(vocab_size=300)
    with pytest.raises(UsageError, match=r"mix\.a must be more than 0, got -1; raise it"):
        make_config(mix={"a": -1})
