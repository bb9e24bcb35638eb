"""The one architecture that both phases share."""

from ingot.model.config import ModelConfig
from ingot.model.tokenizer import StreamDecoder, Tokenizer

__all__ = ["ModelConfig", "StreamDecoder", "Tokenizer"]
