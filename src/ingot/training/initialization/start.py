"""Starting weights from an ingot, for training that begins with a sealed model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ingot.artifact import open_ingot
from ingot.errors import CorpusError, RecipeError
from ingot.model import ModelConfig, Tokenizer
from ingot.training.config.model import model_table

_FREE = "max_position_embeddings"  # rotary positions have no weights, so any context will do


@dataclass(frozen=True, eq=False)
class Start:
    """A model to start from."""

    path: Path
    config: ModelConfig
    tokenizer: Tokenizer
    weights: dict[str, Tensor]
    """Every tensor of ``config.tensor_shapes()``, float32, on the CPU."""
    digest: str
    """The ingot's digest: a run that starts from it names it as its parent."""

    def check_fits(self, config: ModelConfig, tokenizer: Tokenizer) -> None:
        """Refuse a model or texts that these weights are not for; the context may differ.

        Args:
            config: The model that is to be trained.
            tokenizer: The one that its training text was encoded with.

        Raises:
            RecipeError: a size differs; the message names it and both values.
            CorpusError: the tokenizers differ.
        """
        wanted = model_table(config)
        for name, ours in model_table(self.config).items():
            free = name == _FREE and config.position_embedding == "rotary"
            if ours != wanted[name] and not free:
                raise RecipeError(
                    f"is {wanted[name]} in the recipe, but {ours} in {self.path}",
                    where=f"model.{name}",
                    fix="leave the model's sizes to the ingot, or start without it",
                )
        if self.tokenizer.to_json() != tokenizer.to_json():
            raise CorpusError(
                f"was encoded by another tokenizer ({tokenizer.vocab_size} tokens) than that of "
                f"{self.path} ({self.tokenizer.vocab_size} tokens)",
                where="the training text",
                fix="encode it with the ingot's tokenizer",
            )


def start_from(path: Path) -> Start:
    """Open an ingot, verify it and copy its weights to float32.

    Of a quantized ingot the weights are what its codes stand for.

    Raises:
        ArtifactError: it is missing, malformed, of another architecture, or fails a digest.
    """
    with open_ingot(path) as ingot:
        weights = {name: torch.tensor(values) for name, values in ingot.float32()}
        return Start(path, ingot.config, ingot.tokenizer, weights, ingot.digest)
