"""Turning a request's prompts into token ids that the model can take."""

from __future__ import annotations

import asyncio

from ingot.artifact import Ingot
from ingot.server.errors import ApiError


async def encode_prompts(prompts: list[str] | list[list[int]], ingot: Ingot) -> list[list[int]]:
    """Return each prompt's token ids.

    Raises:
        ApiError: 400 where one is empty, has an id that is no token, or leaves no
            room in the context for an answer.
    """
    if isinstance(prompts[0], str):
        # In a thread, because a long text takes a while and others must not wait for it.
        encode = ingot.tokenizer.encode
        encoded = await asyncio.to_thread(lambda: [encode(text) for text in prompts])
    else:
        encoded = prompts
    for index, ids in enumerate(encoded):
        _check(ids, f"prompt[{index}]" if len(encoded) > 1 else "prompt", ingot)
    return encoded


def _check(ids: list[int], place: str, ingot: Ingot) -> None:
    """Refuse token ids that cannot be answered; ``place`` names them."""
    if not ids:
        advice = f"give the token id {ingot.tokenizer.eos_id} to start a new text"
        raise ApiError(400, f"{place} is empty; {advice}", param="prompt", code="empty_prompt")
    vocabulary = ingot.tokenizer.vocab_size
    if (highest := max(ids)) >= vocabulary:
        raise ApiError(
            400,
            f"{place}: token id {highest} is not one of the model's {vocabulary} tokens",
            param="prompt",
            code="invalid_value",
        )
    context = ingot.config.max_position_embeddings
    if len(ids) >= context:
        raise ApiError(
            400,
            f"{place} has {len(ids)} tokens, but the model's context holds {context}, "
            "the answer included; send a shorter one",
            param="prompt",
            code="context_length_exceeded",
        )
