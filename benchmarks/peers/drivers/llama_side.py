"""llama.cpp through its C API, batched as its own server does: MODEL.gguf THREADS.

Tokens are not drawn: a fixed one is fed back, as llama-batched-bench does, which is in its favour.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import llama_cpp

from benchmarks.peers.drivers.conversation import converse

_SLOT_CELLS, _BATCH, _UNIT = 1280, 2048, 512
_FED_BACK = 7


@dataclass
class _Sequence:
    number: int
    slot: int
    ids: list[int]
    left: int
    position: int = 0


class LlamaCpp:
    """A context whose slots have a key-value cache each: sharing one was slower."""

    def __init__(self, path: str, threads: int, slots: int) -> None:
        llama_cpp.llama_backend_init()
        of_model = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), of_model)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = _SLOT_CELLS * slots
        params.n_batch, params.n_ubatch = _BATCH, _UNIT
        params.n_seq_max, params.kv_unified = slots, False
        params.n_threads = params.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError(f"llama.cpp makes no context for {path}")
        self._batch = llama_cpp.llama_batch_init(_BATCH, 0, 1)
        self._count = 0
        self._waiting: list[_Sequence] = []
        self._running: list[_Sequence] = []
        self._free = list(range(slots))

    def add(self, ids: list[int], answer: int) -> int:
        """Take one prompt."""
        self._count += 1
        self._waiting.append(_Sequence(self._count, -1, ids, answer))
        return self._count

    def step(self) -> list[int]:
        """Decode one batch: a token of each running sequence, then prompts while they fit."""
        self._admit()
        if not self._running:
            return []
        self._batch.n_tokens = 0
        made = []
        # llama.cpp batches only slots that follow each other.
        for sequence in sorted(self._running, key=lambda s: (s.position < len(s.ids), s.slot)):
            if self._put(sequence):
                made.append(sequence)
        if llama_cpp.llama_decode(self._context, self._batch) != 0:
            raise RuntimeError("llama_decode failed")
        llama_cpp.llama_synchronize(self._context)
        for sequence in made:
            sequence.left -= 1
            if sequence.left == 0:
                self._running.remove(sequence)
                self._free.append(sequence.slot)
                memory = llama_cpp.llama_get_memory(self._context)
                llama_cpp.llama_memory_seq_rm(memory, sequence.slot, -1, -1)
        return [sequence.number for sequence in made]

    def _admit(self) -> None:
        while self._waiting and self._free:
            sequence = self._waiting.pop(0)
            sequence.slot = self._free.pop(self._free.index(min(self._free)))
            self._running.append(sequence)

    def _put(self, sequence: _Sequence) -> bool:
        """Put what fits of a sequence into the batch; tell whether it gives a token."""
        room = _BATCH - self._batch.n_tokens
        if sequence.position >= len(sequence.ids):
            tokens = [_FED_BACK]
        else:
            tokens = sequence.ids[sequence.position : sequence.position + room]
        gives = bool(tokens) and sequence.position + len(tokens) >= len(sequence.ids)
        for i, token in enumerate(tokens[:room]):
            at = self._batch.n_tokens
            self._batch.token[at] = token
            self._batch.pos[at] = sequence.position
            self._batch.n_seq_id[at] = 1
            self._batch.seq_id[at][0] = sequence.slot
            self._batch.logits[at] = gives and i == len(tokens) - 1
            self._batch.n_tokens += 1
            sequence.position += 1
        return gives


if __name__ == "__main__":
    converse(lambda sequences: LlamaCpp(sys.argv[1], int(sys.argv[2]), sequences))
