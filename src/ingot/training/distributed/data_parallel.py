"""The processes of one run: alone, or as many as ``torchrun`` started."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from ingot.process import usable_cores
from ingot.training.data.batch import Batch

_DEADLINE = timedelta(hours=1)  # the others wait so long while the first one scores and saves
_REST_S = 0.25
_BUCKET = 1 << 22  # gradient values added up between processes at once


@dataclass(frozen=True)
class Workers:
    """This process among those that train one model; each holds all of it (data parallelism).

    Every process draws the same batch and works on its own part of it. Gradients are
    added up once an update, whatever the accumulation, so nothing is sent in vain.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> Workers:
        """Take the rank that ``torchrun`` gave this process, or work alone without one."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        if not distributed.is_initialized():
            # Plain values go by way of the CPU: nothing waits for a GPU to agree on them.
            backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
            distributed.init_process_group(backend, timeout=_DEADLINE)
            atexit.register(_leave)
        return cls(distributed.get_rank(), count)

    @property
    def is_main(self) -> bool:
        """Whether this process scores, saves and reports: rank 0."""
        return self.rank == 0

    @property
    def threads(self) -> int:
        """CPU threads for this process."""
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return max(1, usable_cores() // max(here, 1))

    def shard(self, batch: Batch, passes: int) -> list[Batch]:
        """Return this process's shard of a step's batch, split into passes.

        Raises:
            RecipeError: there are more processes times passes than sequences.
        """
        shards = batch.split(passes * self.count)
        return shards[self.rank * passes : (self.rank + 1) * passes]

    def all_reduce(self, values: Tensor) -> None:
        """Replace values by their sum over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(values)

    def all_reduce_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their sums over all processes, many per message."""
        if self.count == 1:
            return
        bucket: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is not None:
                bucket.append(parameter.grad)
                if sum(gradient.numel() for gradient in bucket) >= _BUCKET:
                    self._all_reduce_bucket(bucket)
                    bucket = []
        if bucket:
            self._all_reduce_bucket(bucket)

    def broadcast_params(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with the values of rank 0."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def broadcast(self, value: float) -> float:
        """Return the number that rank 0 passed, in every process."""
        if self.count == 1:
            return value
        held = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(held, 0)
        return held.item()

    def barrier(self) -> None:
        """Wait until every process has come here."""
        self.broadcast(0.0)  # through the CPU: a barrier of NCCL would wait for the GPU

    def broadcast_object(self, text: str | None) -> str | None:
        """Return the text that rank 0 passed, in every process."""
        if self.count == 1:
            return text
        texts = [text]
        distributed.broadcast_object_list(texts, 0)
        return texts[0]

    def _all_reduce_bucket(self, bucket: list[Tensor]) -> None:
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        distributed.all_reduce(flat)
        start = 0
        for gradient in bucket:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()


def _leave() -> None:
    """Leave the group while Python still runs, and let its threads come to rest.

    They hold tensors, and one that lets go of a tensor after Python has ended ends the process
    with SIGABRT (pytorch/pytorch issue 190489): a finished run would count as failed.
    """
    if distributed.is_initialized():
        distributed.destroy_process_group()
        time.sleep(_REST_S)  # they are not joined as long as anything refers to the group
