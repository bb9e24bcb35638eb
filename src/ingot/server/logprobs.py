"""Log-probabilities in the form of OpenAI's completions."""

from __future__ import annotations

from collections.abc import Iterable

from ingot.inference import TokenLogprob
from ingot.model.tokenizer import END_OF_TEXT, StreamDecoder, Tokenizer
from ingot.server.protocol import Logprobs


class LogprobsWriter:
    """Writes one choice's log-probabilities, piece by piece as its tokens come."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = StreamDecoder(tokenizer)
        self._offset = 0

    def write(self, entries: Iterable[TokenLogprob]) -> Logprobs:
        """Return the next tokens' log-probabilities; offsets go on from the last call."""
        written = Logprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
        for entry in entries:
            token = self._name(entry.token_id)
            top = {self._name(token_id): logprob for token_id, logprob in entry.top}
            written.tokens.append(token)
            written.token_logprobs.append(entry.logprob)
            written.top_logprobs.append(top | {token: entry.logprob})
            written.text_offset.append(self._offset)
            self._offset += len(self._decoder.push(entry.token_id))
        return written

    def _name(self, token_id: int) -> str:
        """Return a token's text, which differs from every other token's."""
        if token_id == self._tokenizer.eos_id:
            return END_OF_TEXT
        if token_id >= self._tokenizer.vocab_size:  # rows that only pad the embedding table
            return f"<unused {token_id}>"
        data = self._tokenizer.token_bytes(token_id)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
