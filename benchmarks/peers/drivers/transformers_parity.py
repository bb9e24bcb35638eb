"""transformers, for parity: MODEL_FOLDER DTYPE."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from transformers import AutoModelForCausalLM

from benchmarks.peers.drivers.parity import Ids, reply


class Transformers:
    """A model of transformers, as ``from_pretrained`` makes it."""

    def __init__(self, folder: str, dtype: str) -> None:
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
        self._model.requires_grad_(requires_grad=False)

    @torch.inference_mode()
    def continue_greedily(self, prompts: Sequence[Ids], answer: int) -> list[list[int]]:
        """Return the most probable tokens after each prompt."""
        answers = []
        for prompt in prompts:
            ids, cache, made = torch.tensor([list(prompt)]), None, []
            for _ in range(answer):
                output = self._model(ids, past_key_values=cache, use_cache=True)
                cache = output.past_key_values
                ids = output.logits[:, -1:].argmax(-1)
                made.append(int(ids))
            answers.append(made)
        return answers

    @torch.inference_mode()
    def losses(self, window: Ids) -> list[float]:
        """Return minus the log-probability of each token but the first."""
        ids = torch.tensor([list(window)])
        logits = self._model(ids).logits[0, :-1].double()
        found: list[float] = torch.nn.functional.cross_entropy(
            logits, ids[0, 1:], reduction="none"
        ).tolist()
        return found


if __name__ == "__main__":
    reply(lambda _: Transformers(sys.argv[1], sys.argv[2]))
