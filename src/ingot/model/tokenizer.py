"""Byte-level BPE tokenizer; any text survives the round trip to token ids."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from tokenizers import Tokenizer as Backend

from ingot.errors import ArtifactError, UsageError
from ingot.files import read_regular
from ingot.model.bpe_training import train_bpe
from ingot.model.tokenizer_json import check_tokenizer_json
from ingot.strict_json import parse_object

END_OF_TEXT = "<|endoftext|>"
SMALLEST_VOCABULARY = 257  # every byte and the end-of-text token

MAX_FILE_BYTES = 64 << 20
"""Largest ``tokenizer.json``; the largest published ones have 33 MB."""

_BYTES_PER_TOKEN, _VALUES_PER_TOKEN = 1024, 16  # several times those of published tokenizers
_LEAST_BYTES, _LEAST_VALUES = 1 << 20, 100_000  # what a small vocabulary may have all the same
_MOST_TOKENS = 1 << 19


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
    def from_json(
        cls, text: str, *, where: object = "tokenizer.json", max_tokens: int = _MOST_TOKENS
    ) -> Tokenizer:
        """Read a ``tokenizer.json``.

        Args:
            text: Its contents.
            where: What to call it in an error.
            max_tokens: The most tokens that it may have; also bounds its length.

        Raises:
            ArtifactError: it is not one, or has a part that is not understood
                (``ingot.model.tokenizer_json``).
        """
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise ArtifactError("is not UTF-8", where=where) from error
        max_bytes = min(MAX_FILE_BYTES, _LEAST_BYTES + _BYTES_PER_TOKEN * max_tokens)
        if len(data) > max_bytes:
            raise ArtifactError(
                f"has {len(data):,} bytes, more than {max_bytes:,} for {max_tokens} tokens",
                where=where,
            )
        max_values = _LEAST_VALUES + _VALUES_PER_TOKEN * max_tokens
        content = parse_object(data, where=where, max_values=max_values)
        check_tokenizer_json(content, where=where)
        try:
            return cls(Backend.from_str(text), where=where)
        except ArtifactError:
            raise
        except BaseException as error:
            _refuse(error, f"is not a tokenizer ({error})", where)

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Read a ``tokenizer.json`` from a file.

        Raises:
            ArtifactError: it cannot be read, or as ``from_json``.
        """
        data = read_regular(path, ArtifactError, max_bytes=MAX_FILE_BYTES)
        try:
            return cls.from_json(data.decode("utf-8"), where=path)
        except UnicodeDecodeError as error:
            raise ArtifactError(f"is not UTF-8 ({error})", where=path) from error

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
        """Return the token ids of ``text``; nothing is added.

        Raises:
            UsageError: the text holds half a surrogate pair.
            ArtifactError: the tokenizer fails on it.
        """
        try:
            return self._backend.encode(text, add_special_tokens=False).ids
        except BaseException as error:
            _refuse_text(error)

    def least_tokens(self, text: str) -> int:
        """Return a number of tokens that ``text`` has at least, without encoding it.

        Every byte of a text is in a token, as no token is longer than the longest.
        """
        if self._backend.normalizer is not None:
            return 0  # it may shorten the text
        return -(-len(text.encode("utf-8", "surrogatepass")) // max(1, self.longest_token))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many texts on all cores; raises as ``encode``."""
        try:
            batch = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except BaseException as error:
            _refuse_text(error)
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

    Args:
        tokenizer: Gives the bytes of each token.
        opened: Bytes that come before them: the beginning of a character.
    """

    def __init__(self, tokenizer: Tokenizer, opened: bytes = b"") -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._decoder.decode(opened)

    def push(self, token_id: int) -> str:
        """Add the next token; return the text that it completes, which may be empty."""
        return self._decoder.decode(self._tokenizer.token_bytes(token_id))

    def flush(self) -> str:
        """Return the remaining text after the last token."""
        return self._decoder.decode(b"", final=True)


def _refuse_text(error: BaseException) -> NoReturn:
    """Raise what an error of the library means while it encoded a text."""
    if isinstance(error, UnicodeEncodeError | TypeError):  # which of them depends on the call
        raise UsageError("holds half a surrogate pair, which is not text", where="text") from error
    _refuse(error, "the tokenizer fails on this text", "tokenizer.json")


def _refuse(error: BaseException, what: str, where: object) -> NoReturn:
    """Raise an error of the library as one of Ingot's.

    The library reports panics as a ``BaseException``. Others of this kind, such as Ctrl-C, are
    raised again.
    """
    if isinstance(error, Exception) or type(error).__name__ == "PanicException":
        raise ArtifactError(" ".join(what[:300].split()), where=where) from error
    raise error


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
    added = backend.get_added_tokens_decoder()
    table = [b""] * backend.get_vocab_size()
    for token, token_id in backend.get_vocab().items():
        try:
            if token_id in added:  # these are written as they are
                table[token_id] = b"" if added[token_id].special else token.encode()
                continue
            table[token_id] = bytes(map(alphabet.__getitem__, token))
        except (KeyError, IndexError) as error:
            raise ArtifactError(
                f"token {token_id} ({token[:20]!r}) is not byte-level BPE", where=where
            ) from error
    return table
