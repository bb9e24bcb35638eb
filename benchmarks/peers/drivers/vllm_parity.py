"""vLLM on the CPU, for parity: MODEL_FOLDER DTYPE THREADS."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": f"0-{int(sys.argv[3]) - 1}",
    "VLLM_NO_USAGE_STATS": "1",
}

from vllm import LLM, SamplingParams, TokensPrompt

from benchmarks.peers.drivers.parity import Ids, reply


class VllmParity:
    """An engine without prefix cache and without compilation."""

    def __init__(self, folder: str, dtype: str, longest: int) -> None:
        self._engine = LLM(
            model=folder,
            dtype=dtype,
            max_model_len=longest + 1,
            max_num_seqs=4,
            enforce_eager=True,
            enable_prefix_caching=False,
            skip_tokenizer_init=True,
        )

    def continue_greedily(self, prompts: Sequence[Ids], answer: int) -> list[list[int]]:
        """Return the most probable tokens after each prompt."""
        how = SamplingParams(max_tokens=answer, ignore_eos=True, temperature=0.0, detokenize=False)
        given = [TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts]
        outputs = self._engine.generate(given, how)
        return [list(output.outputs[0].token_ids) for output in outputs]

    def losses(self, window: Ids) -> list[float]:
        """Return minus the log-probability of each token but the first."""
        how = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        prompt = TokensPrompt(prompt_token_ids=list(window))
        (output,) = self._engine.generate([prompt], how)
        scored = zip(output.prompt_logprobs[1:], list(window)[1:], strict=True)
        return [-each[token].logprob for each, token in scored]


if __name__ == "__main__":
    reply(lambda longest: VllmParity(sys.argv[1], sys.argv[2], longest))
