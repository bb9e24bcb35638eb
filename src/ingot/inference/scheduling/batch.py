"""Translation of scheduled chunks into executor inputs."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import replace

from ingot.errors import ServeError
from ingot.inference.executors.base import ModelInput, SamplingRow
from ingot.inference.request.output import SequenceOutput
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.scheduler import ScheduledChunk

_RETRY_SEED = 0x9E3779B97F4A7C15
"""Gives a token that is sampled once more a random number of its own: by the first one it would
always be the neighbour of the rejected token."""


def model_input_for(chunk: ScheduledChunk, output: SequenceOutput) -> ModelInput:
    """Return the executor's input for a chunk.

    Draft tokens that cannot become part of the answer are removed from the chunk.

    Raises:
        ServeError: the answer's grammar is too costly to follow further.
    """
    sequence, start = chunk.sequence, chunk.sequence.computed
    end = start + chunk.count
    known = _known_tokens(sequence, start, end)
    if sequence.pooling:
        return ModelInput(known, start, sequence.block_table, None, hidden=True)
    if output.scored is None and not chunk.drafts:
        row = _sampling_row(sequence, output, end) if end == sequence.length else None
        return ModelInput(known, start, sequence.block_table, row)
    rows = _prompt_rows(sequence, output, start, end)
    if end == sequence.length:
        rows += _rows_after_drafts(chunk, output)
    return ModelInput(
        [*known, *chunk.drafts],
        start,
        sequence.block_table,
        rows[-1] if rows else None,
        tuple(rows[:-1]),
    )


def _known_tokens(sequence: Sequence, start: int, end: int) -> Seq[int]:
    prompt = len(sequence.prompt_ids)
    if start >= prompt:
        return sequence.output_ids[start - prompt : end - prompt]
    return [*sequence.prompt_ids[start:end], *sequence.output_ids[: max(end - prompt, 0)]]


def _sampling_row(sequence: Sequence, output: SequenceOutput, position: int) -> SamplingRow:
    """Request the token at ``position`` from the current state."""
    mask = output.mask()
    # Only a masked token can be one that is sampled again.
    again = mask is not None and output.retry
    return SamplingRow(
        sequence.params,
        sequence.seed ^ _RETRY_SEED if again else sequence.seed,
        position,
        None,
        None if output.penalties is None else output.penalties.adjustment(),
        mask,
    )


def _rows_after_drafts(chunk: ScheduledChunk, output: SequenceOutput) -> list[SamplingRow]:
    """Request the token after the known ones and after each draft token.

    Penalties and grammar advance by each draft token, and are rolled back afterwards.
    """
    sequence, accepted = chunk.sequence, list[int]()
    rows = [_sampling_row(sequence, output, sequence.length)]
    for token_id in chunk.drafts:
        if output.ends_with(token_id) or not output.speculate(token_id):
            break
        accepted.append(token_id)
        try:
            rows.append(_sampling_row(sequence, output, sequence.length + len(accepted)))
        except ServeError:  # concerns the answer only if it really continues like this
            output.rollback([accepted.pop()])
            break
    output.rollback(accepted)
    chunk.drafts = tuple(accepted)
    output.drafted += len(accepted)
    return rows


def _prompt_rows(
    sequence: Sequence, output: SequenceOutput, start: int, end: int
) -> list[SamplingRow]:
    """Request log-probabilities of the prompt tokens that follow positions [start, end)."""
    if output.scored is None:
        return []
    # After a preemption the prompt is computed again; scores known by then are not requested.
    prompt, first = sequence.prompt_ids, max(start + 1, len(output.scored))
    params = replace(sequence.params, logprobs=sequence.params.prompt_logprobs)
    return [
        SamplingRow(params, sequence.seed, position, forced_token=prompt[position])
        for position in range(first, min(end + 1, len(prompt)))
    ]
