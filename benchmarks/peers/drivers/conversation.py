"""Protocol between a driver and the benchmark: one JSON object a line, on standard streams."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from benchmarks.workloads import MIXED_SEQUENCES, Stepper, decode_rate, mixed_rate, prefill_rate


def converse(load: Callable[[int], Stepper]) -> None:
    """Load the peer for 64 sequences, then answer requests until the input ends.

    What the peer itself prints goes to standard error. ``--first-token`` as the last argument
    loads it for one sequence, makes one token and leaves instead.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if sys.argv[-1] == "--first-token":
        prefill_rate(load(1), 16)
        return
    engine = load(MIXED_SEQUENCES)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        match request["do"]:
            case "prefill":
                rate = prefill_rate(engine, request["tokens"])
            case "decode":
                rate = decode_rate(engine, request["sequences"])
            case "mixed":
                rate = mixed_rate(engine)
            case unknown:
                raise ValueError(f"no such request: {unknown}")
        print(json.dumps({"rate": rate}), file=answers)
