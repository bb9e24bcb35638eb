"""What the model writes now: a few greedy-ish tokens, for a person to look at.

Deliberately plain, without a cache: serving is the other phase's work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ingot.model.tokenizer import Tokenizer
from ingot.model.transformer import Transformer
from ingot.training.compute.precision import Precision
from ingot.training.evaluation.evaluate import never

_TEMPERATURE = 0.7
_WINDOW = 128  # positions recomputed for each token; enough to see what a model has learned


@torch.no_grad()  # inference mode is not for weights that are cut among processes
def sample(
    model: Transformer,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    *,
    tokens: int,
    precision: Precision,
    seed: int,
    stop: Callable[[], bool] = never,
) -> str:
    """Return ``tokens`` tokens of text that follow the tokens of ``prompt``.

    Fewer if the text ends, or once ``stop`` returns True.
    """
    device = model.head_weight.device
    window = min(_WINDOW, model.config.max_position_embeddings)
    begun = tuple(prompt[:1]) == tokenizer.prefix  # as a chat template begins it
    ids = [*prompt] if prompt and tokenizer.prefix and begun else [tokenizer.start_id, *prompt]
    start = len(ids)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(tokens):
        with precision.autocast():
            hidden = model(torch.tensor([ids[-window:]], device=device))
            scores = model.logits(hidden[0, -1]).float().cpu()
        scores[list(tokenizer.holes)] = -torch.inf
        chosen = torch.multinomial((scores / _TEMPERATURE).softmax(-1), 1, generator=generator)
        ids.append(int(chosen))
        if ids[-1] in tokenizer.stop_ids or stop():
            break
    return tokenizer.decode(ids[start:])
