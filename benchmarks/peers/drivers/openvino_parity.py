"""OpenVINO GenAI, for parity: MODEL_FOLDER THREADS. It computes in float32."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import openvino
import openvino_genai

from benchmarks.peers.drivers.parity import Ids, reply

_EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}


class OpenVinoParity:
    """The pipeline for answers, and the same model by itself for scores."""

    def __init__(self, folder: str, threads: int) -> None:
        scheduling = openvino_genai.SchedulerConfig()
        scheduling.cache_size = 1
        settings = {**_EXACT, "INFERENCE_NUM_THREADS": threads}
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            folder, scheduling, "CPU", settings
        )
        compiled = openvino.Core().compile_model(f"{folder}/openvino_model.xml", "CPU", settings)
        self._model = compiled.create_infer_request()

    def continue_greedily(self, prompts: Sequence[Ids], answer: int) -> list[list[int]]:
        """Return the most probable tokens after each prompt."""
        how = openvino_genai.GenerationConfig()
        how.max_new_tokens, how.ignore_eos, how.do_sample = answer, True, False
        answers = []
        for number, prompt in enumerate(prompts):
            ids = openvino.Tensor(np.array([list(prompt)], np.int64))
            handle = self._pipeline.add_request(number, ids, how)
            while self._pipeline.has_non_finished_requests():
                self._pipeline.step()
            made: list[int] = []
            while handle.can_read():
                for output in handle.read().values():
                    made += output.generated_ids
            answers.append(made)
        return answers

    def losses(self, window: Ids) -> list[float]:
        """Return minus the log-probability of each token but the first."""
        self._model.reset_state()
        ids = np.array([list(window)], np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "position_ids": np.arange(ids.shape[1])[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        names = {name for port in self._model.model_inputs for name in port.names}
        found = self._model.infer({name: x for name, x in inputs.items() if name in names})
        scores = next(iter(found.values()))[0, :-1].astype(np.float64)
        chosen = scores[np.arange(len(scores)), ids[0, 1:]]
        losses: list[float] = (np.logaddexp.reduce(scores, axis=1) - chosen).tolist()
        return losses


if __name__ == "__main__":
    reply(lambda _: OpenVinoParity(sys.argv[1], int(sys.argv[2])))
