from __future__ import annotations

import pytest
from pydantic import ValidationError

from ingot.errors import UsageError
from ingot.inference import EngineConfig
from ingot.model import ModelConfig


def test_blocks_fill_the_memory_given(config: ModelConfig) -> None:
    block = 16 * config.kv_bytes(4)
    assert EngineConfig(kv_cache_bytes=10 * block + 1).blocks_for(config) == 10


def test_no_more_blocks_than_can_be_used(config: ModelConfig) -> None:
    settings = EngineConfig(max_sequences=3, max_context=33, block_size=16)
    assert settings.blocks_for(config) == 3 * 3
    assert EngineConfig(max_sequences=3).blocks_for(config) == 3 * 128 // 16


def test_a_number_of_blocks_goes_first(config: ModelConfig) -> None:
    assert EngineConfig(num_blocks=5, kv_cache_bytes=1).blocks_for(config) == 5


def test_too_little_memory_for_one_block_is_refused(config: ModelConfig) -> None:
    block = 16 * config.kv_bytes(4)
    with pytest.raises(UsageError, match=f"kv_cache_bytes.*{block}"):
        EngineConfig(kv_cache_bytes=block - 1).blocks_for(config)


WRONG = [
    (field, value)
    for field in EngineConfig.model_fields
    for value in {
        "prefix_cache": [0, 1, "true", None],
        "pin_threads": [0, 1, "true", None],
        "speculation": [-1, 33, 1.5, "8", True],
    }.get(field, [0, -1, 1.5, "8", True])
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_limits_that_make_no_sense_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        EngineConfig.model_validate({field: value})
