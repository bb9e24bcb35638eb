"""Log-probabilities in the forms of OpenAI's completions and chat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from ingot.inference import TokenLogprob
from ingot.model.tokenizer import StreamDecoder, Tokenizer
from ingot.server.schemas.chat import ChatLogprobs, ChatTokenLogprob, TopLogprob
from ingot.server.schemas.completions import Logprobs, PromptLogprob, PromptLogprobs


@dataclass(frozen=True)
class _Fragments:
    """Consecutive parts of the lists of ``Logprobs``, as JSON without their brackets."""

    tokens: orjson.Fragment
    token_logprobs: orjson.Fragment
    top_logprobs: orjson.Fragment
    text_offset: orjson.Fragment


class LogprobsWriter:
    """Incremental writer of one choice's log-probabilities.

    For an answer that is not streamed they are collected as JSON, so that its body is
    joined from parts that were each quick to write.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = StreamDecoder(tokenizer)
        self._offset = 0
        self._parts: list[_Fragments] = []
        self._chat_parts: list[orjson.Fragment] = []

    def write(self, entries: Iterable[TokenLogprob]) -> Logprobs:
        """Return the next tokens' log-probabilities; offsets continue from the last call."""
        written = Logprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
        for entry in entries:
            token = self.name(entry.token_id)
            top = {self.name(token_id): logprob for token_id, logprob in entry.top}
            written.tokens.append(token)
            written.token_logprobs.append(entry.logprob)
            written.top_logprobs.append(top | {token: entry.logprob})
            written.text_offset.append(self._offset)
            self._offset += len(self._decoder.push(entry.token_id))
        return written

    def write_prompt(
        self, prompt_ids: Iterable[int], entries: Sequence[TokenLogprob | None]
    ) -> Logprobs:
        """Return a prompt's log-probabilities, null for its first token; offsets continue.

        Args:
            prompt_ids: The prompt.
            entries: One for each of its tokens.
        """
        written = Logprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
        for token_id, entry in zip(prompt_ids, entries, strict=True):
            if entry is not None:
                part = self.write([entry])
                written.tokens.extend(part.tokens)
                written.token_logprobs.extend(part.token_logprobs)
                written.top_logprobs.extend(part.top_logprobs)
                written.text_offset.extend(part.text_offset)
                continue
            written.tokens.append(self.name(token_id))
            written.token_logprobs.append(None)
            written.top_logprobs.append(None)
            written.text_offset.append(self._offset)
            self._offset += len(self._decoder.push(token_id))
        return written

    def write_chat(self, entries: Iterable[TokenLogprob]) -> ChatLogprobs:
        """Return the next tokens' log-probabilities in chat's form."""
        return ChatLogprobs(
            [
                ChatTokenLogprob(
                    self.name(entry.token_id),
                    entry.logprob,
                    self._bytes(entry.token_id),
                    [TopLogprob(self.name(id_), p, self._bytes(id_)) for id_, p in entry.top],
                )
                for entry in entries
            ]
        )

    def collect(self, entries: Iterable[TokenLogprob]) -> None:
        """Write the next tokens' log-probabilities for ``collected``."""
        self._parts.append(_as_fragments(self.write(entries)))

    def collect_prompt(
        self, prompt_ids: Iterable[int], entries: Sequence[TokenLogprob | None]
    ) -> None:
        """Write log-probabilities of the next prompt tokens for ``collected``."""
        self._parts.append(_as_fragments(self.write_prompt(prompt_ids, entries)))

    def collect_chat(self, entries: Iterable[TokenLogprob]) -> None:
        """Write the next tokens' log-probabilities in chat's form for ``collected_chat``."""
        self._chat_parts.append(_fragment(self.write_chat(entries).content))

    def collected(self) -> Logprobs | None:
        """Return what was collected, its lists already JSON; None if nothing was."""
        parts = self._parts
        if not parts:
            return None
        return Logprobs(
            [part.tokens for part in parts],  # type: ignore[misc]  # orjson joins fragments
            [part.token_logprobs for part in parts],  # type: ignore[misc]
            [part.top_logprobs for part in parts],  # type: ignore[misc]
            [part.text_offset for part in parts],  # type: ignore[misc]
        )

    def collected_chat(self) -> ChatLogprobs | None:
        """As ``collected``, in chat's form."""
        return ChatLogprobs(self._chat_parts) if self._chat_parts else None  # type: ignore[arg-type]

    def _bytes(self, token_id: int) -> list[int]:
        table = self._tokenizer.table
        return list(table[token_id]) if token_id < len(table) else []

    def name(self, token_id: int) -> str:
        """Return a token's name, unique in the vocabulary."""
        table = self._tokenizer.table
        data = table[token_id] if token_id < len(table) else b""
        if not data:  # a special token, or a row of the embedding table without one
            return self._tokenizer.special_texts.get(token_id, f"<unused {token_id}>")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


class PromptLogprobsWriter:
    """Writer of one prompt's log-probabilities in vLLM's form, a part at a time.

    Args:
        names: Gives each token its name.
    """

    def __init__(self, names: LogprobsWriter) -> None:
        self._name = names.name
        self._parts: list[orjson.Fragment] = []

    def collect(self, prompt_ids: Iterable[int], entries: Iterable[TokenLogprob | None]) -> None:
        """Write the entries of the next prompt tokens; None for the first of all."""
        written = [
            None if entry is None else self._entry(token_id, entry)
            for token_id, entry in zip(prompt_ids, entries, strict=True)
        ]
        self._parts.append(_fragment(written))

    def collected(self) -> PromptLogprobs:
        """Return what was collected, already JSON."""
        return self._parts  # type: ignore[return-value]  # orjson joins fragments

    def _entry(self, token_id: int, entry: TokenLogprob) -> dict[str, PromptLogprob]:
        own = {str(token_id): PromptLogprob(entry.logprob, None, self._name(token_id))}
        return own | {
            str(id_): PromptLogprob(logprob, rank, self._name(id_))
            for rank, (id_, logprob) in enumerate(entry.top, 1)
        }


def _as_fragments(written: Logprobs) -> _Fragments:
    return _Fragments(
        _fragment(written.tokens),
        _fragment(written.token_logprobs),
        _fragment(written.top_logprobs),
        _fragment(written.text_offset),
    )


def _fragment(items: Sequence[object]) -> orjson.Fragment:
    """Return the items of a list that is not empty as JSON, to be an item of a longer list."""
    return orjson.Fragment(orjson.dumps(items)[1:-1])
