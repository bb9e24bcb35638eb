"""Configuration of the engine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ingot.errors import UsageError
from ingot.model.config import ModelConfig

Weights = Literal["stored", "bf16", "int8", "int4"]
"""Weights in memory: the ingot's own, or a format they are rounded to while they are loaded."""

_Count = Annotated[int, Field(ge=1, lt=1 << 31)]
_BYTES_PER_VALUE = 4  # float32, the widest that an executor stores


class EngineConfig(BaseModel):
    """Limits of an engine and the size of its key-value cache."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_step_tokens: _Count = 512
    """Most tokens run in one step, decodes and prefill together: the token budget."""
    max_sequences: _Count = 64
    """Most sequences running at once; no more than ``max_step_tokens``."""
    tenant_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Part of the engine's time that one API key may add to steps that it shares with other keys,
    beyond half a second that it saves up. A key that has no more to run than another is not
    limited. 1 sets no limit."""
    max_waiting: _Count = 1024
    """Most sequences waiting to run; more are refused. One API key alone may fill 8/9 of it."""
    max_waiting_tokens: Annotated[int, Field(ge=1)] = 16_000_000
    """Most tokens of all waiting sequences together: some 40 bytes each. More are refused."""
    max_context: _Count | None = None
    """Longest prompt plus answer in tokens; unset takes the model's."""
    block_size: _Count = 16
    """Tokens in one block of the key-value cache."""
    kv_cache_bytes: Annotated[int, Field(ge=1)] = 1 << 30
    """Most memory for the key-value cache, in bytes."""
    num_blocks: _Count | None = None
    """Blocks of the key-value cache; unset takes what ``kv_cache_bytes`` holds."""
    kv_cache_dtype: Literal["bf16", "f32", "int8"] | None = None
    """Format of keys and values; unset takes the executor's default."""
    threads: _Count | None = None
    """Compute threads; unset takes one per CPU, and one less for PyTorch."""
    pin_threads: bool = False
    """Pin each thread of the native core to one CPU."""
    prefix_cache: bool = True
    """Keep computed prefixes and share them among sequences."""
    speculation: Annotated[int, Field(ge=0, le=32)] = 0
    """Most tokens drafted by prompt lookup and verified in one step; it never changes an answer."""

    def blocks_for(self, model: ModelConfig) -> int:
        """Return how many cache blocks an executor of ``model`` should have.

        Without ``num_blocks``: what ``kv_cache_bytes`` holds at 4 bytes a value, but
        no more than ``max_sequences`` whole contexts can use.

        Raises:
            UsageError: ``kv_cache_bytes`` does not hold one block.
        """
        if self.num_blocks is not None:
            return self.num_blocks
        block_bytes = self.block_size * model.kv_bytes(_BYTES_PER_VALUE)
        context = self.max_context or model.max_position_embeddings
        useful = self.max_sequences * -(-context // self.block_size)
        blocks = min(self.kv_cache_bytes // block_bytes, useful)
        if blocks < 1:
            raise UsageError(
                f"{self.kv_cache_bytes} bytes hold no block of {self.block_size} tokens "
                f"({block_bytes} bytes)",
                where="kv_cache_bytes",
                fix=f"give at least {block_bytes}",
            )
        return blocks
