"""vLLM's engine on the CPU, stepped by hand: MODEL_FOLDER THREADS."""

from __future__ import annotations

import os
import sys

os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process, so that it can be stepped
    "VLLM_CPU_KVCACHE_SPACE": "4",
    "VLLM_CPU_OMP_THREADS_BIND": f"0-{int(sys.argv[2]) - 1}",
    "VLLM_NO_USAGE_STATS": "1",
}

from vllm import EngineArgs, LLMEngine, SamplingParams, TokensPrompt

from benchmarks.peers.drivers.conversation import converse

_CONTEXT = 1536


class Vllm:
    """An engine without prefix cache; its other settings are its own."""

    def __init__(self, folder: str, sequences: int) -> None:
        args = EngineArgs(
            model=folder,
            dtype="bfloat16",
            max_model_len=_CONTEXT,
            max_num_seqs=sequences,
            enable_prefix_caching=False,
            skip_tokenizer_init=True,
        )
        self._engine = LLMEngine.from_engine_args(args)
        self._count = 0
        self._made: dict[str, int] = {}

    def add(self, ids: list[int], answer: int) -> int:
        """Take one prompt."""
        self._count += 1
        how = SamplingParams(max_tokens=answer, ignore_eos=True, temperature=0.0, detokenize=False)
        self._made[str(self._count)] = 0
        self._engine.add_request(str(self._count), TokensPrompt(prompt_token_ids=ids), how)
        return self._count

    def step(self) -> list[int]:
        """Run one step."""
        made = []
        for output in self._engine.step():
            total = len(output.outputs[0].token_ids)
            made += [int(output.request_id)] * (total - self._made[output.request_id])
            self._made[output.request_id] = total
        return made


if __name__ == "__main__":
    converse(lambda sequences: Vllm(sys.argv[1], sequences))
