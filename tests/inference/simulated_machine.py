"""A machine whose steps take a made-up time."""

from __future__ import annotations

import random
from collections.abc import Sequence as Seq

from ingot.inference.executors.base import ModelInput
from ingot.inference.request.sequence import SampledToken
from ingot.inference.scheduling.cost_model import StepWork
from ingot.model import ModelConfig

BLOCK = 16


class Machine:
    """An executor on a clock of its own.

    A step takes 4 ms, 0.1 ms for each token beyond 16, 0.05 ms for each sequence, and attention.
    """

    features = frozenset({"verify_rows"})

    def __init__(self, config: ModelConfig, blocks: int, noise: float = 0.02) -> None:
        self.config, self.num_blocks, self.block_size = config, blocks, BLOCK
        self.now = 1000.0
        self.slowness = 1.0
        self.stall_s = 0.0
        self._chance, self._noise = random.Random(1), noise
        self.wrong_drafts = False
        """Whether each answer alternates so that what was drafted is never right."""

    def step(self, inputs: Seq[ModelInput]) -> list[SampledToken | None]:
        work = StepWork.of((len(one.token_ids), one.start) for one in inputs)
        spread = 1 + self._noise * self._chance.uniform(-1, 1)
        self.now += seconds(work) * self.slowness * spread + self.stall_s
        self.stall_s = 0.0
        return [None if one.sampling is None else self._sample(one) for one in inputs]

    def _sample(self, one: ModelInput) -> SampledToken:
        """Repeat one token; or, where drafts are to be wrong, another one than was drafted."""
        assert one.sampling is not None
        if not self.wrong_drafts:
            same = SampledToken(7, None)
            return same._replace(verified=tuple(same for _ in one.verify_rows))
        after = [row.position for row in (*one.verify_rows, one.sampling)]
        ids = [*one.token_ids[len(one.token_ids) - len(after) + 1 :], -1]
        tokens = [
            SampledToken(8 if draft == 7 else 7, None) if draft >= 0 else SampledToken(7, None)
            for draft in ids
        ]
        return tokens[-1]._replace(verified=tuple(tokens[:-1]))

    def try_step(self, inputs: Seq[ModelInput]) -> list[SampledToken | None]:
        return self.step(inputs)

    def interrupt(self, on: bool) -> None:
        pass

    def clock(self) -> float:
        return self.now

    def close(self) -> None:
        pass

    def weight_digests(self) -> dict[str, str]:
        return {}

    def yield_cpu(self, on: bool) -> None:
        pass


def seconds(work: StepWork) -> float:
    return (
        0.004
        + 1e-4 * max(work.tokens - 16, 0)
        + 5e-5 * work.sequences
        + 2e-7 * work.decode_keys
        + 3e-8 * work.prefill_keys
    )
