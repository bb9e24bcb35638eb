"""A model that is born knowing which token follows which.

With the projections into the residual stream at zero, the network is a
log-bilinear bigram model: head · RMSNorm(embedding). Its best weights depend on
the corpus only through the table of bigram counts, so one pass over the corpus
and a few dozen full-batch steps over that table give what gradient descent
over sequences would take most of a short run to find. Measured in docs/log.md.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ingot.corpus import TokenStore
from ingot.model.transformer import Transformer
from ingot.training.optim.adamw import AdamW, Group

LARGEST_VOCABULARY = 8192  # the table of counts holds its square
_STEPS, _RATE, _ROWS, _READ = 60, 0.05, 1024, 1 << 22


def count_bigrams(store: TokenStore, vocab_size: int) -> Tensor:
    """Return float32 counts (V, V): how often the column's token follows the row's."""
    counts = np.zeros(vocab_size * vocab_size, dtype=np.float32)
    for start in range(0, len(store) - 1, _READ):
        ids = store.read(start, min(_READ + 1, len(store) - start))
        pairs, times = np.unique(ids[:-1] * vocab_size + ids[1:], return_counts=True)
        counts[pairs] += times
    return torch.from_numpy(counts.reshape(vocab_size, vocab_size))


def fit_bigrams(model: Transformer, store: TokenStore, *, reserved: int = 0) -> float:
    """Set the embedding and the untied head to the corpus's bigram model.

    Args:
        model: A fresh model.
        store: The training tokens.
        reserved: Leading columns of the embedding to leave as they are; the head ignores them.

    Returns:
        The bigram model's loss over the corpus, in nats per token.
    """
    embedding, head = model.model.embed_tokens.weight, model.lm_head.weight
    vocab_size, width = embedding.shape
    counts = count_bigrams(store, vocab_size).to(embedding.device)
    total = counts.sum()
    with torch.no_grad():
        # Rows of unit root mean square, as the norm wants them.
        embedding[:, reserved:].mul_(width**0.5)
        head.zero_()
    optimizer = AdamW([Group([embedding, head], _RATE, 0.0)], (0.8, 0.95))
    loss = 0.0
    for step in range(_STEPS):
        embedding.grad = head.grad = None
        loss = 0.0
        for rows in range(0, vocab_size, _ROWS):
            hidden = functional.rms_norm(
                embedding[rows : rows + _ROWS], (width,), eps=model.config.rms_norm_eps
            )
            scores = functional.log_softmax(functional.linear(hidden, head), dim=-1)
            part = -(counts[rows : rows + _ROWS] * scores).sum() / total
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.item()
        for table in (embedding, head):
            if table.grad is not None:
                table.grad[:, :reserved] = 0
        optimizer.step(min(1.0, (_STEPS - step) / (0.6 * _STEPS)))
    embedding.grad = head.grad = None
    return loss
