"""One worker of a training, started by torchrun: ``python -m ingot.cluster.worker JOB``.

``JOB`` is a file of JSON that ``torchrun`` wrote. The file beside it named ``outcome`` is written
by the first worker of this machine that knows how the job ends: with a result, or with an error
that starting again would not mend. Where it exists, a worker that is started again leaves at once.
A worker that ends otherwise, with an exception or by a signal, has all workers started again.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path

from rich.console import Console
from torch.distributed.elastic.multiprocessing.errors import record

from ingot.api.training import stopped_run
from ingot.cluster.job import TrainingJob
from ingot.console import report_to
from ingot.errors import IngotError, printable
from ingot.files import write_atomic

OUTCOME = "outcome"


@record
def main() -> None:
    """Carry out the job in the file that the first argument names."""
    path = Path(sys.argv[1])
    outcome = path.with_name(OUTCOME)
    if outcome.exists():
        return
    job = TrainingJob(**json.loads(path.read_bytes()))
    try:
        with report_to(Console(stderr=True), partial(stopped_run, Path(job.out))) as (
            _,
            callbacks,
        ):
            told = job.work(callbacks)
    except IngotError as error:
        told = {"error": str(error), "kind": type(error).__name__}
    except Exception:
        if outcome.exists() and not os.environ.get("INGOT_DEBUG"):
            return  # another worker has left for a reason, which is what broke this one
        raise
    if not outcome.exists():
        write_atomic(outcome, json.dumps(told).encode())


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # torchrun has it already
        if os.environ.get("INGOT_DEBUG"):
            raise
        first = str(error).strip().partition("\n")[0][:200]
        sys.stderr.write(f"worker {os.environ['RANK']} ended: {printable(first)}\n")
        sys.exit(1)
