"""Updates of litgpt's GPT, as ``litgpt pretrain`` makes them on a CPU.

It compiles the model, computes in float32 and takes PyTorch's AdamW.
"""

from __future__ import annotations

import json
import os
import sys
import time

import torch
from litgpt import GPT, Config
from litgpt.utils import chunked_cross_entropy

VOCABULARY, CONTEXT, BATCH = 65, 256, 16


def main() -> None:
    """Answer requests for a rate until the input ends; litgpt's own output goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    config = Config(
        name="10.65M",
        block_size=CONTEXT,
        vocab_size=VOCABULARY,
        padded_vocab_size=VOCABULARY,
        n_layer=6,
        n_head=6,
        n_embd=384,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
        intermediate_size=1056,
    )
    model = GPT(config)
    model.max_seq_length = CONTEXT
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-4, betas=(0.9, 0.95), weight_decay=0.1)
    compiled_model = torch.compile(model)
    ids = torch.randint(0, VOCABULARY, (BATCH, CONTEXT + 1))
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        updates = json.loads(line)["updates"]
        started = time.perf_counter()
        for _ in range(updates):
            loss = chunked_cross_entropy(compiled_model(ids[:, :-1]), ids[:, 1:], chunk_size=0)  # type: ignore[no-untyped-call]
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        rate = updates * BATCH * CONTEXT / (time.perf_counter() - started)
        print(json.dumps({"rate": rate}), file=answers)


if __name__ == "__main__":
    main()
