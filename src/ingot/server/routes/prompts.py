"""Turning a request's prompts into token ids that the model can take."""

from __future__ import annotations

import asyncio

from ingot.server.engine.model_registry import ServedModel
from ingot.server.http.errors import ApiError

_SHORT = 1024
"""Characters, of all texts together, that are encoded in less time than a thread takes to begin:
about 0.25 ms."""


async def encode_prompts(
    prompts: list[str] | list[list[int]], model: ServedModel, field: str = "prompt"
) -> list[list[int]]:
    """Return each prompt's token ids.

    Args:
        prompts: Texts or token ids.
        model: Whose tokens they become.
        field: The request's field that holds them.

    Raises:
        ApiError: 400 where one is empty, has an id that is no token, or leaves no
            room in the context for an answer.
    """
    encoded = await _encode(prompts, model) if isinstance(prompts[0], str) else prompts
    for index, ids in enumerate(encoded):
        check_ids(ids, model, f"{field}[{index}]" if len(encoded) > 1 else field)
    return encoded


async def _encode(texts: list[str], model: ServedModel) -> list[list[int]]:
    encode = model.ingot.tokenizer.encode
    if sum(map(len, texts)) <= _SHORT:
        return [encode(text) for text in texts]
    # In a thread, because it takes a while and others must not wait for it.
    return await asyncio.to_thread(lambda: [encode(text) for text in texts])


def check_ids(ids: list[int], model: ServedModel, path: str) -> None:
    """Refuse token ids that cannot be answered.

    Args:
        ids: The prompt.
        model: Whose tokens they should be.
        path: What to call them; begins with the request's field.

    Raises:
        ApiError: 400.
    """
    field = path.partition("[")[0]
    if not ids:
        advice = f"give the token id {model.ingot.tokenizer.eos_id} to start a new text"
        raise ApiError(400, f"{path} is empty; {advice}", param=field, code="empty_prompt")
    vocabulary = model.ingot.tokenizer.vocab_size
    if (highest := max(ids)) >= vocabulary:
        raise ApiError(
            400,
            f"{path}: token id {highest} is not one of the model's {vocabulary} tokens",
            param=field,
            code="invalid_value",
        )
    context = model.loop.max_context
    if len(ids) >= context:
        raise ApiError(
            400,
            f"{path} has {len(ids)} tokens, but the model's context holds {context}, "
            "the answer included; send a shorter one",
            param=field,
            code="context_length_exceeded",
        )
