"""What a model can know before its first update: the corpus's bigrams, and how to copy."""

from __future__ import annotations

import torch

from ingot.corpus import TokenStore
from ingot.model.transformer import Transformer
from ingot.training.initialization.bigram_start import LARGEST_VOCABULARY, fit_bigrams
from ingot.training.initialization.induction_start import lay_induction

_CODES = 1  # seed of the tokens' codes; any will do


def warm_start(model: Transformer, store: TokenStore) -> str:
    """Prepare a fresh model; return a line on what was done.

    A tied head cannot hold a bigram model, and a large vocabulary's table of
    counts does not fit; such models are left as they are, and so are those whose
    blocks are not Qwen3's, in which the heads are laid.
    """
    config = model.config
    for name, value in config.variants.items():
        return f"random weights (there is no warm start for {name} {value!r})"
    if config.tie_word_embeddings or config.vocab_size > LARGEST_VOCABULARY:
        return "random weights (the warm start needs an untied head and a small vocabulary)"
    reserved = lay_induction(model, torch.Generator().manual_seed(_CODES))
    loss = fit_bigrams(model, store, reserved=reserved)
    copying = " and heads that copy" if reserved else ""
    return f"begun from bigram counts (loss {loss:.3f}){copying}"
