from __future__ import annotations

import pytest
from pydantic import ValidationError

from ingot.corpus import CorpusConfig


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
