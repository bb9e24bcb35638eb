"""Protocol of the parity drivers: one JSON object in, one out, on standard streams.

In: ``prompts`` and ``windows``, lists of token ids, and ``answer``, the tokens of each answer. Out:
``answers``, greedy with the end of text ignored; ``loss``, the mean over the windows' tokens but
each first, in nats.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

Ids = Sequence[int]


class ParityEngine(Protocol):
    """An engine with a model loaded."""

    def continue_greedily(self, prompts: Sequence[Ids], answer: int) -> list[list[int]]:
        """Return the ``answer`` most probable tokens after each prompt."""

    def losses(self, window: Ids) -> list[float]:
        """Return minus the log-probability of each token of a window but the first."""


def reply(load: Callable[[int], ParityEngine]) -> None:
    """Load the engine for contexts of a length, and answer the request on standard input.

    What the engine itself prints goes to standard error.
    """
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    request = json.loads(sys.stdin.read())
    prompts, windows, answer = request["prompts"], request["windows"], request["answer"]
    longest = max(*(len(ids) + answer for ids in prompts), *map(len, windows))
    engine = load(longest)
    answers = engine.continue_greedily(prompts, answer)
    losses = [loss for window in windows for loss in engine.losses(window)]
    json.dump({"answers": answers, "loss": math.fsum(losses) / len(losses)}, out)
