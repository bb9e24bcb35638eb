"""OpenVINO GenAI's continuous batching, run by hand: MODEL_FOLDER THREADS."""

from __future__ import annotations

import sys

import numpy as np
import openvino
import openvino_genai

from benchmarks.peers.drivers.conversation import converse

_MOST_CACHE_GB = 4


class OpenVino:
    """A pipeline without prefix cache; its other settings are its own."""

    def __init__(self, folder: str, threads: int, sequences: int) -> None:
        scheduling = openvino_genai.SchedulerConfig()
        scheduling.cache_size = min(sequences, _MOST_CACHE_GB)
        scheduling.enable_prefix_caching = False
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            folder, scheduling, "CPU", {"INFERENCE_NUM_THREADS": threads}
        )
        self._count = 0
        self._running: dict[int, openvino_genai.GenerationHandle] = {}

    def add(self, ids: list[int], answer: int) -> int:
        """Take one prompt."""
        how = openvino_genai.GenerationConfig()
        how.max_new_tokens, how.ignore_eos, how.do_sample = answer, True, False
        self._count += 1
        prompt = openvino.Tensor(np.array([ids], np.int64))
        self._running[self._count] = self._pipeline.add_request(self._count, prompt, how)
        return self._count

    def step(self) -> list[int]:
        """Run one step of the pipeline."""
        if self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        made = []
        for number, handle in list(self._running.items()):
            while handle.can_read():
                for output in handle.read().values():
                    made += [number] * len(output.generated_ids)
            if handle.get_status() != openvino_genai.GenerationStatus.RUNNING:
                del self._running[number]
        return made


if __name__ == "__main__":
    converse(lambda sequences: OpenVino(sys.argv[1], int(sys.argv[2]), sequences))
