"""Training of a tokenizer in a separate process; run by ``train_tokenizer``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingot.corpus.build.child import run_in_child, serve
from ingot.model.tokenizer import Tokenizer
from ingot.process import end_with_parent

_AT_ONCE = 256 << 10
"""Characters so few that training takes a moment, less than starting a process."""


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """Train a tokenizer; Ctrl-C is heard at once.

    Raises:
        ResourceError: memory ran out.
    """
    if sum(map(len, texts)) <= _AT_ONCE:
        return Tokenizer.train(texts, vocab_size)
    blobs = [str(vocab_size).encode(), *(text.encode() for text in texts)]
    return Tokenizer.from_json(run_in_child(__name__, blobs, "training the tokenizer"))


def _train(blobs: list[bytes], _: Callable[[int, int], None]) -> str:
    vocab_size, *texts = blobs
    return Tokenizer.train((text.decode() for text in texts), int(vocab_size)).to_json()


if __name__ == "__main__":
    end_with_parent()
    serve(_train)
