"""From the scheduler's chunks to what the executor is asked to run."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import replace

from ingot.inference.executors.base import ModelInput, SamplingRow
from ingot.inference.request.output import SequenceOutput
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.scheduler import ScheduledChunk


def model_input_for(chunk: ScheduledChunk, output: SequenceOutput) -> ModelInput:
    """Describe a chunk of work to the executor.

    Guesses that could not be part of the answer are taken off the chunk.

    Raises:
        ServeError: the answer's grammar can be followed no further.
    """
    sequence, start = chunk.sequence, chunk.sequence.computed
    end = start + chunk.count
    known = _known_tokens(sequence, start, end)
    if sequence.pooling:
        return ModelInput(known, start, sequence.block_table, None, hidden=True)
    if output.scored is None and not chunk.drafts:
        row = _draw(sequence, output, end) if end == sequence.length else None
        return ModelInput(known, start, sequence.block_table, row)
    rows = _scores(sequence, output, start, end)
    if end == sequence.length:
        rows += _draws(chunk, output)
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


def _draw(sequence: Sequence, output: SequenceOutput, position: int) -> SamplingRow:
    """Ask for the token at ``position`` as things stand."""
    return SamplingRow(
        sequence.params,
        sequence.seed,
        position,
        None,
        None if output.penalties is None else output.penalties.adjustment(),
        None if output.grammar is None else output.grammar.mask(),
    )


def _draws(chunk: ScheduledChunk, output: SequenceOutput) -> list[SamplingRow]:
    """Ask for the token after the known ones and after each guess, as if those before were said."""
    sequence, said = chunk.sequence, list[int]()
    rows = [_draw(sequence, output, sequence.length)]
    for token_id in chunk.drafts:
        if output.ends_with(token_id) or not output.speculate(token_id):
            break
        said.append(token_id)
        rows.append(_draw(sequence, output, sequence.length + len(said)))
    output.rollback(said)
    chunk.drafts = tuple(said)
    output.drafted += len(said)
    return rows


def _scores(sequence: Sequence, output: SequenceOutput, start: int, end: int) -> list[SamplingRow]:
    """Ask for the scores, where still wanted, of what follows each prompt token in [start, end)."""
    if output.scored is None:
        return []
    prompt, first = sequence.prompt_ids, max(start + 1, len(output.scored))
    params = replace(sequence.params, logprobs=sequence.params.prompt_logprobs)
    return [
        SamplingRow(params, sequence.seed, position, forced_token=prompt[position])
        for position in range(first, min(end + 1, len(prompt)))
    ]
