"""llama.cpp through llama-cpp-python, for parity: MODEL.gguf THREADS. Its cache is in float32."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import llama_cpp
import numpy as np

from benchmarks.peers.drivers.parity import Ids, reply


class LlamaParity:
    """A context that scores every token."""

    def __init__(self, path: str, threads: int, longest: int) -> None:
        self._model = llama_cpp.Llama(
            path,
            n_ctx=longest + 1,
            n_batch=longest + 1,
            n_ubatch=longest + 1,
            n_threads=threads,
            n_threads_batch=threads,
            logits_all=True,
            type_k=llama_cpp.GGML_TYPE_F32,
            type_v=llama_cpp.GGML_TYPE_F32,
            flash_attn=False,
            verbose=False,
        )

    def continue_greedily(self, prompts: Sequence[Ids], answer: int) -> list[list[int]]:
        """Return the most probable tokens after each prompt."""
        answers = []
        for prompt in prompts:
            self._model.reset()
            ids, made = list(prompt), []
            for _ in range(answer):
                self._model.eval(ids)
                ids = [int(np.argmax(self._model.scores[self._model.n_tokens - 1]))]
                made += ids
            answers.append(made)
        return answers

    def losses(self, window: Ids) -> list[float]:
        """Return minus the log-probability of each token but the first."""
        self._model.reset()
        self._model.eval(list(window))
        scores = np.array(self._model.scores[: len(window) - 1], dtype=np.float64)
        chosen = scores[np.arange(len(scores)), list(window)[1:]]
        found: list[float] = (np.logaddexp.reduce(scores, axis=1) - chosen).tolist()
        return found


if __name__ == "__main__":
    reply(lambda longest: LlamaParity(sys.argv[1], int(sys.argv[2]), longest))
