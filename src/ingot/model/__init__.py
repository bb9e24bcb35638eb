"""The model architecture that both phases share: configuration, module, tokenizer, chat."""

from ingot.model.config import ModelConfig
from ingot.model.tokenizer import StreamDecoder, Tokenizer

__all__ = ["ModelConfig", "StreamDecoder", "Tokenizer"]
