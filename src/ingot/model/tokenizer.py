"""Byte-level BPE tokenizer; any text survives the round trip to token ids."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer as Backend

from ingot.errors import ArtifactError
from ingot.model.bpe_training import train_bpe

END_OF_TEXT = "<|endoftext|>"
SMALLEST_VOCABULARY = 257  # every byte and the end-of-text token


class Tokenizer:
    """A byte-level BPE tokenizer with one special token, the end of text.

    Special tokens written out in a text are plain text to ``encode``, so a
    user's prompt cannot contain one.
    """

    def __init__(self, backend: Backend, *, where: object = "tokenizer.json") -> None:
        eos_id = backend.token_to_id(END_OF_TEXT)
        if eos_id is None:
            raise ArtifactError(f"has no {END_OF_TEXT} token", where=where)
        backend.encode_special_tokens = True
        self._backend = backend
        self._bytes = _token_bytes(backend, where)
        self.eos_id: int = eos_id
        self.longest_token: int = max(map(len, self._bytes), default=0)
        """Bytes of the longest token."""
        added = backend.get_added_tokens_decoder()
        self.special_tokens: dict[str, int] = {
            token.content: token_id for token_id, token in added.items() if token.special
        }

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Tokenizer:
        """Train a vocabulary of at most ``vocab_size`` tokens; see ``train_bpe`` for its bounds."""
        return cls(train_bpe(texts, vocab_size, special=END_OF_TEXT))

    @classmethod
    def from_json(cls, text: str, *, where: object = "tokenizer.json") -> Tokenizer:
        """Read a ``tokenizer.json``.

        Raises:
            ArtifactError: it is not one.
        """
        try:
            backend = Backend.from_str(text)
        except Exception as error:  # the library raises bare Exception on bad input
            raise ArtifactError(f"is not a tokenizer ({error})", where=where) from error
        return cls(backend, where=where)

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Read a ``tokenizer.json`` from a file."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"cannot be read ({error})", where=path) from error
        return cls.from_json(text, where=path)

    def to_json(self) -> str:
        """Return the ``tokenizer.json`` that any Hugging Face tool reads."""
        return self._backend.to_str(pretty=False)

    def hf_config(self, context: int) -> str:
        """Return the ``tokenizer_config.json`` that belongs to it."""
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END_OF_TEXT,
            "bos_token": None,
            "unk_token": None,
            "pad_token": END_OF_TEXT,
            "add_bos_token": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": context,
        }
        return json.dumps(config, indent=2) + "\n"

    @property
    def vocab_size(self) -> int:
        """Number of tokens, including the special one."""
        return self._backend.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Return the token ids of ``text``; nothing is added."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def least_tokens(self, text: str) -> int:
        """Return a number of tokens that ``text`` has at least, without encoding it.

        Every byte of a text is in a token, as no token is longer than the longest.
        """
        if self._backend.normalizer is not None:
            return 0  # it may shorten the text
        return -(-len(text.encode("utf-8", "surrogatepass")) // max(1, self.longest_token))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many texts on all cores."""
        batch = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in batch]

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of one token; a special token has none."""
        return self._bytes[token_id]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ``ids``; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(map(self._bytes.__getitem__, ids)).decode("utf-8", errors="replace")


class StreamDecoder:
    """Incremental decoder of token ids that never splits a character.

    Concatenating what ``push`` and ``flush`` return gives ``decode`` of all ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """Add the next token; return the text that it completes, which may be empty."""
        return self._decoder.decode(self._tokenizer.token_bytes(token_id))

    def flush(self) -> str:
        """Return the remaining text after the last token."""
        return self._decoder.decode(b"", final=True)


def _byte_alphabet() -> dict[str, int]:
    """Map the printable stand-ins that byte-level BPE writes to the bytes they mean.

    Source: GPT-2's encoder. Printable Latin-1 characters stand for themselves;
    the other bytes take the code points from 256 up, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    stand_ins = {chr(256 + offset): byte for offset, byte in enumerate(others)}
    return stand_ins | {chr(byte): byte for byte in printable}


def _token_bytes(backend: Backend, where: object) -> list[bytes]:
    """Return each token's bytes by id; special tokens have none."""
    alphabet = _byte_alphabet()
    special = {id_ for id_, token in backend.get_added_tokens_decoder().items() if token.special}
    table = [b""] * backend.get_vocab_size()
    for token, token_id in backend.get_vocab().items():
        if token_id in special:
            continue
        try:
            table[token_id] = bytes(map(alphabet.__getitem__, token))
        except (KeyError, IndexError) as error:
            raise ArtifactError(
                f"token {token_id} ({token[:20]!r}) is not byte-level BPE", where=where
            ) from error
    return table
