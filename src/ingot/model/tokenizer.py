"""Tokenizer of a model: text to token ids and back, special tokens apart from text."""

from __future__ import annotations

import codecs
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Backend

from ingot.errors import ArtifactError, UsageError
from ingot.files import read_regular
from ingot.model.bpe_training import train_bpe
from ingot.model.native_bpe import NativeEncoder, native_encoder
from ingot.model.special_tokens import END_OF_TEXT, NAMES, SpecialTokens
from ingot.model.text_start import StartTable, TextStart, drops_space
from ingot.model.token_bytes import token_bytes
from ingot.model.tokenizer_fixes import fix, highest_id, prefix_of, resolve
from ingot.model.tokenizer_json import check_tokenizer_json
from ingot.model.tokenizer_layout import layout_of, without_prefix
from ingot.strict_json import parse_object

SMALLEST_VOCABULARY = 257  # every byte and the end-of-text token

MAX_FILE_BYTES = 64 << 20
"""Largest ``tokenizer.json``; the largest published ones have 33 MB."""

_BYTES_PER_TOKEN, _VALUES_PER_TOKEN = 1024, 16  # several times those of published tokenizers
_LEAST_BYTES, _LEAST_VALUES = 1 << 20, 100_000  # what a small vocabulary may have all the same
MOST_TOKENS = 1 << 19

_SHORT = 256  # characters that the library encodes in less time than reading its vocabulary takes


class Tokenizer:
    """A byte-pair tokenizer: byte-level, or of SentencePiece's kind with byte fallback.

    Special tokens written out in a text are plain text to ``encode``, so a
    user's prompt cannot contain one. Make one with ``train``, ``from_json``, ``from_file`` or
    ``ingot.model.tokenizer_files.read_tokenizer``.
    """

    def __init__(
        self,
        backend: Backend,
        special: SpecialTokens,
        *,
        adds_bos: bool = False,
        chat_templates: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        backend.encode_special_tokens = True
        self._backend = backend
        self.layout = layout_of(backend)
        self.table, self.holes = token_bytes(backend, self.layout)
        """``table``: the bytes of each token by its id; ``holes``: ids that no token has."""
        added = backend.get_added_tokens_decoder()
        self.special_tokens: dict[str, int] = {
            token.content: token_id for token_id, token in added.items() if token.special
        }
        self.special_texts: dict[int, str] = {
            token_id: text for text, token_id in self.special_tokens.items()
        }
        self.strips = {
            token.content: (token.lstrip, token.rstrip)
            for token in added.values()
            if token.special and (token.lstrip or token.rstrip)
        }
        """Special tokens that take white space with them, before or after them."""
        self.special_names: Mapping[str, str] = special.names
        """Texts of the special tokens by the names under which chat templates see them."""
        self.eos_id: int = self.special_tokens[special.names["eos_token"]]
        """The token that ends a document."""
        bos = special.names.get("bos_token")
        self.bos_id: int | None = None if bos is None else self.special_tokens[bos]
        self.prefix: tuple[int, ...] = (
            (self.bos_id,) if adds_bos and self.bos_id is not None else ()
        )
        """Tokens that begin each document, before those of its text."""
        ids = {token_id for token_id in special.stop_ids if token_id < len(self.table)}
        self.stop_ids: frozenset[int] = frozenset(ids - set(self.holes)) | {self.eos_id}
        """Tokens that end an answer; ``eos_id`` is one of them."""
        self.chat_templates = chat_templates
        """The model's chat templates by name; "default" is the one without a name."""
        self.longest_token: int = max(map(len, self.table), default=0)
        """Bytes of the longest token."""

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Tokenizer:
        """Train a vocabulary of at most ``vocab_size`` tokens; see ``train_bpe`` for its bounds."""
        return cls(train_bpe(texts, vocab_size, special=END_OF_TEXT), SpecialTokens())

    @classmethod
    def from_json(
        cls,
        text: str,
        special: SpecialTokens | None = None,
        *,
        where: object = "tokenizer.json",
        max_tokens: int = MOST_TOKENS,
        rows: int | None = None,
        chat_templates: Mapping[str, str] = MappingProxyType({}),
    ) -> Tokenizer:
        """Read a ``tokenizer.json``.

        Args:
            text: Its contents.
            special: Its special tokens; those of a tokenizer that Ingot trained by default.
            where: What to call it in an error.
            max_tokens: The most tokens that it may have; also bounds its length.
            rows: Rows of the model's embedding table; added tokens past it are dropped.
            chat_templates: The model's chat templates by name.

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
        special = resolve(special or SpecialTokens(), content, where=where)
        if fix(content, special, rows=rows, where=where):
            text = json.dumps(content, ensure_ascii=False)
        highest = highest_id(content)
        if highest >= max_tokens:  # a table has a place for each id
            raise ArtifactError(
                f"has a token with the id {highest}, not below {max_tokens}", where=where
            )
        try:
            backend = Backend.from_str(text)
        except BaseException as error:
            _refuse(error, f"is not a tokenizer ({error})", where)
        made = cls(
            backend,
            special,
            adds_bos=bool(prefix_of(content.get("post_processor"))),
            chat_templates=chat_templates,
        )
        made._check_specials(content["model"], where)
        return made

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

    def continuing_json(self) -> str:
        """Return the ``tokenizer.json`` for texts that continue others; empty if it is the same."""
        return "" if self.layout.prefix == "none" else without_prefix(self.to_json())

    @property
    def is_plain(self) -> bool:
        """Whether it is as Ingot trains them: ``tokenizer.json`` alone says all of it."""
        return (
            self.special_names == SpecialTokens().names
            and self.stop_ids == {self.eos_id}
            and not self.chat_templates
        )

    def hf_config(self, context: int | None = None) -> str:
        """Return the ``tokenizer_config.json`` that belongs to it.

        Args:
            context: Tokens that its model can take at once, where there is a model.
        """
        names = {"bos_token": None, "unk_token": None, **self.special_names}
        own = {name: text for name, text in names.items() if name not in NAMES}
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{name: text for name, text in names.items() if name in NAMES},
            **({"extra_special_tokens": own} if own else {}),
            "add_bos_token": bool(self.prefix),
            "clean_up_tokenization_spaces": False,
            **({} if context is None else {"model_max_length": context}),
        }
        if self.chat_templates:
            config["chat_template"] = (
                self.chat_templates["default"]
                if self.chat_templates.keys() == {"default"}
                else [{"name": n, "template": t} for n, t in self.chat_templates.items()]
            )
        return json.dumps(config, indent=2) + "\n"

    @property
    def vocab_size(self) -> int:
        """One more than the highest token id; ``holes`` are the ids below it without a token."""
        return len(self.table)

    @property
    def start_id(self) -> int:
        """The token after which a document begins: its first one, or the end of another."""
        return self.prefix[0] if self.prefix else self.eos_id

    def encode(self, text: str, *, continues: bool = False) -> list[int]:
        """Return the token ids of ``text``; nothing is added.

        Args:
            text: The text.
            continues: It continues other text, so no space is put in front of it where the
                tokenizer would do so.

        Raises:
            UsageError: the text holds half a surrogate pair.
            ArtifactError: the tokenizer fails on it.
        """
        try:
            if len(text) > _SHORT and self.native:
                ids: list[int] = self.native.encode([text])[0].tolist()
                return ids
            backend = self._continuing if continues else self._backend
            return backend.encode(text, add_special_tokens=False).ids
        except BaseException as error:
            _refuse_text(error)

    def least_tokens(self, text: str) -> int:
        """Return a number of tokens that ``text`` has at least, without encoding it.

        Every byte of a text is in a token, as no token is longer than the longest.
        """
        shrink = self.layout.shrink
        if shrink is None:
            return 0
        if self.layout.mark:  # stands for a space in tokens, so that its bytes are fewer there
            text = text.replace(self.layout.mark, " ")
        data = text.encode("utf-8", "surrogatepass")
        size = len(data.translate(None, self._lost) if self._lost else data)
        return -(-size // (shrink * max(1, self.longest_token)))

    def encode_batch(
        self, texts: Sequence[str], *, continues: Sequence[bool] | None = None
    ) -> list[list[int]]:
        """Encode many texts on all cores; raises as ``encode``.

        Args:
            texts: The texts.
            continues: For each whether it continues other text; None: none does.
        """
        if self.layout.prefix != "none" and continues is not None and any(continues):
            return [
                self.encode(text, continues=each)
                for text, each in zip(texts, continues, strict=True)
            ]
        try:
            batch = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except BaseException as error:
            _refuse_text(error)
        return [encoding.ids for encoding in batch]

    def encode_arrays(
        self, texts: Sequence[str], *, continues: Sequence[bool] | None = None
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Encode many texts; raises as ``encode``.

        The native core uses one thread and does not hold the GIL; the library uses all cores.

        Args:
            texts: The texts.
            continues: For each whether it continues other text; None: none does.

        Returns:
            The ids of all texts (tokens,), and where those of each end (texts,).
        """
        if self.native:
            try:
                return self.native.encode(texts)
            except UnicodeEncodeError as error:
                _refuse_text(error)
        lists = self.encode_batch(texts, continues=continues)
        ends = np.cumsum([len(ids) for ids in lists], dtype=np.int64)
        return np.fromiter(itertools.chain.from_iterable(lists), np.uint32), ends

    @cached_property
    def native(self) -> NativeEncoder | None:
        """The native core's encoder of it; None if the core does not know its kind."""
        return native_encoder(self._backend)

    def use_library_unless_equal(self, texts: Sequence[str]) -> bool:
        """Compare the core's ids of some texts with the library's; if they differ, drop the core.

        Returns:
            Whether the core is used.
        """
        if self.native is None:
            return False
        ids, ends = self.native.encode(texts)
        expected = self.encode_batch(texts)
        starts = [0, *ends.tolist()]
        equal = all(
            ids[start:end].tolist() == each
            for start, end, each in zip(starts[:-1], starts[1:], expected, strict=True)
        )
        if not equal:
            self.native = None
        return equal

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of one token; a special token has none."""
        return self.table[token_id]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ``ids``; bytes that are not UTF-8 become U+FFFD."""
        parts = [self.table[token_id] for token_id in ids]
        TextStart(self.layout).trim(parts)
        return b"".join(parts).decode("utf-8", errors="replace")

    def unknown(self, ids: Sequence[int]) -> int | None:
        """Return one of the ids, none below 0, that no token has; None if each has one."""
        if ids and (highest := max(ids)) >= len(self.table):
            return highest
        if self.holes and (found := set(self.holes).intersection(ids)):
            return min(found)
        return None

    def begins_text(self, before: Sequence[int]) -> bool:
        """Return whether a text begins after these tokens, so that it has a space in front.

        Args:
            before: The ids of the tokens before it.
        """
        if self.layout.prefix == "none":
            return False
        last = before[-1:] if self.layout.prefix == "every" else reversed(before)
        return not any(self.table[token_id] for token_id in last)

    def _check_specials(self, model: Mapping[str, Any], where: object) -> None:
        """Refuse a vocabulary in which a special token is a word or a letter of ordinary text."""
        whole_words = model.get("ignore_merges")
        for text, token_id in self.special_tokens.items():
            if (whole_words or len(text) == 1) and text in model["vocab"]:
                for continues in (False, True):
                    if token_id in self.encode(text, continues=continues):
                        raise ArtifactError(
                            f"encodes the text {text[:40]!r} as the special token", where=where
                        )

    @cached_property
    def _continuing(self) -> Backend:
        """The tokenizer that puts no space in front of a text."""
        if not (text := self.continuing_json()):
            return self._backend
        backend = Backend.from_str(text)
        backend.encode_special_tokens = True
        return backend

    @cached_property
    def _lost(self) -> bytes:
        """Bytes that no token has, and that encoding drops."""
        if not self.layout.byte_level:
            return b""
        known = {data[0] for data in self.table if len(data) == 1}
        return bytes(byte for byte in range(256) if byte not in known)


class StreamDecoder:
    """Incremental decoder of token ids that never splits a character.

    Concatenating what ``push`` and ``flush`` return gives ``decode`` of all ids.

    Args:
        tokenizer: Gives the bytes of each token.
        opened: Bytes that come before them: the beginning of a character.
        begins: Whether the ids begin a text, so that the space which the tokenizer puts in front
            of a text is dropped.
    """

    def __init__(self, tokenizer: Tokenizer, opened: bytes = b"", *, begins: bool = True) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._decoder.decode(opened)
        self._table: Sequence[bytes] | StartTable = tokenizer.table
        if begins and drops_space(tokenizer.layout):
            self._table = StartTable(tokenizer.table, TextStart(tokenizer.layout), self._replace)

    def push(self, token_id: int) -> str:
        """Add the next token; return the text that it completes, which may be empty."""
        return self._decoder.decode(self._table[token_id])

    def flush(self) -> str:
        """Return the remaining text after the last token."""
        return self._decoder.decode(b"", final=True)

    def _replace(self, table: Sequence[bytes]) -> None:
        self._table = table


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
