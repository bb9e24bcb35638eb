"""The parts of a ``tokenizer.json`` that are understood; every other one is refused by name.

A tokenizer comes with a model from a stranger and is run by a library of native code, on every
text, in the server's own process. So nothing is accepted that could make a text longer without
bound, hang, drop text or end the process: normalizers that lengthen it, regular expressions other
than those of published tokenizers, padding, truncation, dropout.

The layout is that of the tokenizers library (github.com/huggingface/tokenizers). What is accepted
is byte-level BPE as GPT-2, Llama 3, Qwen, SmolLM, StarCoder, Falcon, DeepSeek and Mistral Nemo use
it, and BPE with byte fallback as Llama 2, Mistral, Phi-3 and Gemma do.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from ingot.errors import ArtifactError, from_validation
from ingot.model.split_pattern import split_pattern

_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_MARKS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES
_MARKS_AND_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _SPACES
_WORD = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+"
_NAME = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_PATTERN = rf"{_SHORT}|{_LETTERS}|\p{{N}}{{1,3}}|{_MARKS}"  # and GPT-4
QWEN2_PATTERN = rf"{_SHORT}|{_LETTERS}|\p{{N}}|{_MARKS}"  # and Qwen 3
GPT4O_PATTERN = rf"{_WORD}{_SHORT}?|{_NAME}{_SHORT}?|\p{{N}}{{1,3}}|{_MARKS_AND_SLASH}"
TEKKEN_PATTERN = rf"{_WORD}|{_NAME}|\p{{N}}|{_MARKS_AND_SLASH}"  # Mistral Nemo

# A regular expression can take time exponential in the text's length, and no limit of its size
# prevents it: these are the ones whose time is known to be linear.
TOTAL = frozenset(
    {
        split_pattern(),  # Ingot's own
        GPT2_PATTERN,
        LLAMA3_PATTERN,
        QWEN2_PATTERN,
        GPT4O_PATTERN,
        TEKKEN_PATTERN,
    }
)
"""Regular expressions of published tokenizers that match every character of a text."""
PATTERNS = TOTAL | frozenset(
    {
        r"[0-9][0-9][0-9]",  # Falcon
        r"\p{N}{1,3}",  # DeepSeek-V3, in three steps
        "[一-龥\u3040-ゟ\u30a0-ヿ]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    }
)
"""Regular expressions of published tokenizers."""

_MOST_ADDED = 256_000  # characters; the most of a published one is some 80,000
_Short = Annotated[str, StringConstraints(min_length=1, max_length=8)]
_Id = Annotated[int, Field(ge=0, lt=1 << 24)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Literal(_Part):
    String: _Short


class _Replace(_Part):
    """One short text by another that is no longer."""

    type: Literal["Replace"]
    pattern: _Literal
    content: Annotated[str, StringConstraints(max_length=8)]

    @model_validator(mode="after")
    def _no_longer(self) -> Self:
        if len(self.content) > len(self.pattern.String):
            raise ValueError("makes a text longer")
        return self


class _Prepend(_Part):
    type: Literal["Prepend"]
    prepend: _Short


class _Unicode(_Part):
    type: Literal["NFC", "NFD", "NFKC", "NFKD"]


_Normalizer = Annotated[_Unicode | _Replace | _Prepend, Field(discriminator="type")]


class _Normalizers(_Part):
    type: Literal["Sequence"]
    normalizers: Annotated[list[_Normalizer], Field(max_length=4)]


class _ByteLevel(_Part):
    type: Literal["ByteLevel"]
    add_prefix_space: bool = True
    trim_offsets: bool = True
    use_regex: bool = True


class _SplitPattern(_Part):
    Regex: str | None = None
    String: _Short | None = None

    @field_validator("Regex")
    @classmethod
    def _published(cls, regex: str | None) -> str | None:
        if regex is not None and regex not in PATTERNS:
            raise ValueError("is not the regular expression of a tokenizer known here")
        return regex

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.Regex is None) == (self.String is None):
            raise ValueError("must be one of Regex and String")
        return self


class _Split(_Part):
    type: Literal["Split"]
    pattern: _SplitPattern
    behavior: Literal["Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous", "Removed"]
    invert: bool = False

    @model_validator(mode="after")
    def _drops_nothing(self) -> Self:
        # What a pattern does not match is removed: nothing, if the pattern covers every text.
        drops = self.behavior == "Removed", self.invert
        if drops != (False, False) and (drops != (True, True) or self.pattern.Regex not in TOTAL):
            raise ValueError("behavior and invert drop or join text")
        return self


class _Digits(_Part):
    type: Literal["Digits"]
    individual_digits: bool


class _Punctuation(_Part):
    type: Literal["Punctuation"]
    behavior: Literal["Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] = "Isolated"


class _Metaspace(_Part):
    type: Literal["Metaspace"]
    replacement: Annotated[str, StringConstraints(min_length=1, max_length=1)]
    prepend_scheme: Literal["first", "never", "always"] = "always"
    split: bool = True
    add_prefix_space: bool | None = None
    str_rep: str | None = None


_PreTokenizer = Annotated[
    _ByteLevel | _Split | _Digits | _Punctuation | _Metaspace, Field(discriminator="type")
]


class _PreTokenizers(_Part):
    type: Literal["Sequence"]
    pretokenizers: Annotated[list[_PreTokenizer], Field(max_length=8)]


class _SpecialToken(_Part):
    id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    type_id: int


class _TextSequence(_Part):
    id: Literal["A", "B"]
    type_id: int


class _TemplatePart(_Part):
    SpecialToken: _SpecialToken | None = None
    Sequence: _TextSequence | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.SpecialToken is None) == (self.Sequence is None):
            raise ValueError("must be one of SpecialToken and Sequence")
        return self


class _TemplateToken(_Part):
    id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    ids: Annotated[list[_Id], Field(min_length=1, max_length=1)]
    tokens: Annotated[list[str], Field(min_length=1, max_length=1)]


class _TemplateProcessing(_Part):
    """Special tokens before a text; none may follow it, because answers continue it."""

    type: Literal["TemplateProcessing"]
    single: Annotated[list[_TemplatePart], Field(min_length=1, max_length=8)]
    pair: Annotated[list[_TemplatePart], Field(max_length=16)]
    special_tokens: Annotated[dict[str, _TemplateToken], Field(max_length=16)]

    @model_validator(mode="after")
    def _text_comes_last(self) -> Self:
        if [part.Sequence is not None for part in self.single].count(True) != 1:
            raise ValueError("single must hold one text")
        if self.single[-1].Sequence is None:
            raise ValueError("puts a special token after a text, which is not supported")
        return self


_PostProcessor = Annotated[_ByteLevel | _TemplateProcessing, Field(discriminator="type")]


class _PostProcessors(_Part):
    type: Literal["Sequence"]
    processors: Annotated[list[_PostProcessor], Field(max_length=4)]


class _ByteFallback(_Part):
    type: Literal["ByteFallback"]


class _Fuse(_Part):
    type: Literal["Fuse"]


class _Strip(_Part):
    type: Literal["Strip"]
    content: Annotated[str, StringConstraints(min_length=1, max_length=1)]
    start: Annotated[int, Field(ge=0, le=8)]
    stop: Annotated[int, Field(ge=0, le=8)]


_Decoder = Annotated[
    _ByteLevel | _Replace | _ByteFallback | _Fuse | _Strip | _Metaspace, Field(discriminator="type")
]


class _Decoders(_Part):
    type: Literal["Sequence"]
    decoders: Annotated[list[_Decoder], Field(max_length=8)]

    @model_validator(mode="after")
    def _known_order(self) -> Self:
        kinds = [part.type for part in self.decoders]
        if kinds not in _DECODER_ORDERS:
            raise ValueError(f"{' + '.join(kinds)} is not a sequence of decoders known here")
        return self


_DECODER_ORDERS = (
    ["ByteLevel"],
    ["Replace", "ByteFallback", "Fuse"],
    ["Replace", "ByteFallback", "Fuse", "Strip"],
    ["Metaspace"],
)


class _AddedToken(_Part):
    id: _Id
    content: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = False


class _BPE(_Part):
    type: Literal["BPE"]
    dropout: None = None
    unk_token: Annotated[str, StringConstraints(max_length=256)] | None = None
    continuing_subword_prefix: Literal[""] | None = None
    end_of_word_suffix: Literal[""] | None = None
    fuse_unk: bool = False
    byte_fallback: bool = False
    ignore_merges: bool = False
    vocab: dict[Annotated[str, StringConstraints(max_length=1024)], _Id]
    merges: list[str] | list[Annotated[list[str], Field(min_length=2, max_length=2)]]


class _TokenizerJson(_Part):
    version: Literal["1.0"] = "1.0"
    truncation: None = None
    padding: None = None
    added_tokens: Annotated[list[_AddedToken], Field(max_length=20_000)]
    normalizer: (
        Annotated[
            _Unicode | _Replace | _Prepend | _Normalizers,
            Field(discriminator="type"),
        ]
        | None
    ) = None
    pre_tokenizer: (
        Annotated[
            _ByteLevel | _Split | _Digits | _Punctuation | _Metaspace | _PreTokenizers,
            Field(discriminator="type"),
        ]
        | None
    ) = None
    post_processor: (
        Annotated[_ByteLevel | _TemplateProcessing | _PostProcessors, Field(discriminator="type")]
        | None
    ) = None
    decoder: Annotated[_ByteLevel | _Metaspace | _Decoders, Field(discriminator="type")]
    model: _BPE

    @field_validator("added_tokens")
    @classmethod
    def _short_in_all(cls, tokens: list[_AddedToken]) -> list[_AddedToken]:
        # They are searched for by an automaton with a state for each character.
        if sum(len(token.content) for token in tokens) > _MOST_ADDED:
            raise ValueError(f"have more than {_MOST_ADDED} characters")
        return tokens


def check_tokenizer_json(content: dict[str, Any], *, where: object) -> None:
    """Refuse a ``tokenizer.json`` with a part that is not understood, or has no bound.

    Raises:
        ArtifactError: names the first such part.
    """
    try:
        _TokenizerJson.model_validate(content)
    except ValidationError as error:
        raise from_validation(
            ArtifactError,
            error,
            where=where,
            what="is not a tokenizer that is understood here",
            fix="use a model with a byte-level BPE tokenizer",
        ) from error
