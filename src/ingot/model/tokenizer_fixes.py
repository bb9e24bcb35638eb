"""Changes to a checked ``tokenizer.json`` without which it would not mean what it says.

The library gives added tokens the next free ids, whatever the file says; byte-pair merges may
spell out a control token; and ``tokenizer_config.json`` may speak against the post-processor.
Ingot writes what holds into the one file, so that every program that reads it agrees.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from ingot.errors import ArtifactError
from ingot.model.special_tokens import SpecialTokens

Content = dict[str, Any]


def fix(content: Content, special: SpecialTokens, *, rows: int | None, where: object) -> bool:
    """Change a checked ``tokenizer.json`` in place; return whether anything was changed.

    Args:
        content: The parsed file.
        special: Its special tokens.
        rows: Rows of the model's embedding table; added tokens past it are dropped, as the model
            cannot take them.
        where: What to call the file in an error.

    Raises:
        ArtifactError: two tokens have one id, one token has two, or a special token is missing.
    """
    changed = [
        _drop_added(content, rows),
        _place_added(content, where),
        _mark_special(content, special, where),
        _forbid_spelling(content),
        _set_prefix(content, special),
    ]
    return any(changed)


def resolve(special: SpecialTokens, content: Content, *, where: object) -> SpecialTokens:
    """Return the special tokens with what only the ``tokenizer.json`` tells of them.

    Raises:
        ArtifactError: no token ends a document, or more than one begins each.
    """
    names = dict(special.names)
    if "eos_token" not in names:
        texts = {token["id"]: token["content"] for token in content["added_tokens"]}
        texts |= {token_id: text for text, token_id in content["model"]["vocab"].items()}
        ends = [texts[token_id] for token_id in special.stop_ids if token_id in texts]
        if not ends:
            raise ArtifactError(
                "has no token that ends a text",
                where=where,
                fix="name it as eos_token in tokenizer_config.json",
            )
        names["eos_token"] = ends[0]
    prefix = prefix_of(content.get("post_processor"))
    if special.adds_bos is None and prefix and prefix != [names.setdefault("bos_token", prefix[0])]:
        raise ArtifactError(
            f"begins each text with {' '.join(prefix)[:80]!r}, which is not bos_token", where=where
        )
    return replace(special, names=names)


def highest_id(content: Content) -> int:
    """Return the highest id of a token; -1 if there is none."""
    added = (token["id"] for token in content["added_tokens"])
    return max((*content["model"]["vocab"].values(), *added), default=-1)


def prefix_of(post_processor: Content | None) -> list[str]:
    """Return the special tokens that a checked post-processor puts before a text."""
    if post_processor is None:
        return []
    return [
        part["SpecialToken"]["id"]
        for processor in post_processor.get("processors", [post_processor])
        if processor["type"] == "TemplateProcessing"
        for part in processor["single"]
        if "SpecialToken" in part
    ]


def _drop_added(content: Content, rows: int | None) -> bool:
    """Drop added tokens that the model has no row for, such as Gemma's placeholder of images."""
    if rows is None:
        return False
    vocabulary, added = content["model"]["vocab"], content["added_tokens"]
    kept = [
        token for token in added if token["id"] < rows or vocabulary.get(token["content"], -1) >= 0
    ]
    content["added_tokens"] = kept
    return len(kept) < len(added)


def _place_added(content: Content, where: object) -> bool:
    """Put added tokens into the vocabulary if the library would give them other ids."""
    vocabulary: dict[str, int] = content["model"]["vocab"]
    ids = set(vocabulary.values())
    if len(ids) < len(vocabulary):
        raise ArtifactError("gives one id to two tokens", where=where)
    further: dict[str, int] = {}
    for token in content["added_tokens"]:
        text, token_id = token["content"], token["id"]
        known = vocabulary.get(text, further.get(text))
        if known is not None and known != token_id:
            raise ArtifactError(f"gives {text[:40]!r} the ids {known} and {token_id}", where=where)
        if known is None and token_id in ids:
            raise ArtifactError(f"gives one id, {token_id}, to two tokens", where=where)
        if known is None:
            further[text] = token_id
            ids.add(token_id)
    first = len(vocabulary)
    contiguous = max(vocabulary.values(), default=-1) < first
    if contiguous and list(further.values()) == list(range(first, first + len(further))):
        return False
    vocabulary.update(further)
    return bool(further)


def _mark_special(content: Content, special: SpecialTokens, where: object) -> bool:
    """See to it that every token with a name is an added and a special one."""
    added = {token["content"]: token for token in content["added_tokens"]}
    vocabulary: dict[str, int] = content["model"]["vocab"]
    changed = False
    for name, text in special.names.items():
        if text in added:
            changed = changed or not added[text].get("special")
            added[text]["special"] = True
        elif text in vocabulary:
            flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            added[text] = {"id": vocabulary[text], "content": text, **flags, "special": True}
            changed = True
        elif name in ("bos_token", "eos_token"):
            raise ArtifactError(f"has no {text[:40]!r}, the model's {name}", where=where)
    content["added_tokens"] = sorted(added.values(), key=lambda token: token["id"])
    return changed


def _forbid_spelling(content: Content) -> bool:
    """Remove merges that make a special token of its letters, so that no text becomes one."""
    vocabulary = content["model"]["vocab"]
    specials = [
        token["content"]
        for token in content["added_tokens"]
        if token.get("special") and token["content"] in vocabulary
    ]
    halves = {(text[:at], text[at:]) for text in specials for at in range(1, len(text))}
    merges = content["model"]["merges"]
    kept = [merge for merge in merges if _pair(merge) not in halves] if halves else merges
    content["model"]["merges"] = kept
    return len(kept) < len(merges)


def _pair(merge: str | Collection[str]) -> tuple[str, ...]:
    return tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge)


def _set_prefix(content: Content, special: SpecialTokens) -> bool:
    """Let the post-processor put ``bos_token`` before a text, or not, as the settings say."""
    bos = special.names.get("bos_token")
    wanted = [bos] if special.adds_bos and bos is not None else []
    processor = content.get("post_processor")
    if special.adds_bos is None or prefix_of(processor) == wanted:
        return False
    token_ids: Mapping[str, int] = {
        token["content"]: token["id"] for token in content["added_tokens"]
    }
    others = [
        part
        for part in (processor.get("processors", [processor]) if processor else [])
        if part["type"] != "TemplateProcessing"
    ]
    template = _template([(text, token_ids[text]) for text in wanted])
    content["post_processor"] = {"type": "Sequence", "processors": [*others, template]}
    return True


def _template(prefix: Collection[tuple[str, int]]) -> Content:
    """Return the post-processor that puts special tokens before a text."""

    def sequence(name: str, type_id: int) -> list[Content]:
        before = [{"SpecialToken": {"id": text, "type_id": type_id}} for text, _ in prefix]
        return [*before, {"Sequence": {"id": name, "type_id": type_id}}]

    return {
        "type": "TemplateProcessing",
        "single": sequence("A", 0),
        "pair": [*sequence("A", 0), *sequence("B", 1)],
        "special_tokens": {
            text: {"id": text, "ids": [token_id], "tokens": [text]} for text, token_id in prefix
        },
    }
