"""A function that runs on the cluster while this process waits and hears Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from ingot.cluster.outcome import Told
from ingot.cluster.stopping import ask_to_stop, forget_stop
from ingot.errors import Interrupted, TrainingError
from ingot.interruption import stoppable

_POLL_S = 0.5


def drive(
    function: Callable[..., Told],
    arguments: tuple[Any, ...],
    folder: Path,
    stopped: Callable[[], Interrupted],
) -> Told:
    """Run a function on the cluster that this process is connected to, and return its result.

    The first SIGINT or SIGTERM asks what works in ``folder`` to stop, a second one stops waiting.

    Raises:
        Interrupted: the second one came.
        TrainingError: the machine that ran the function is lost, or it failed.
    """
    asked = False

    def finish() -> bool:
        nonlocal asked
        if not asked and folder.is_dir():
            asked = True
            ask_to_stop(folder)
            sys.stderr.write("stopping, with a checkpoint (again: at once)\n")
        return asked

    try:
        with stoppable(stopped, finish=finish):
            running = ray.remote(num_cpus=0, max_retries=0)(function).remote(*arguments)
            while not ray.wait([running], timeout=_POLL_S)[0]:
                pass
            told: Told = ray.get(running)
    except (ray.exceptions.RayError, ConnectionError) as error:
        first = str(error).strip().partition("\n")[0]
        raise TrainingError(
            f"the cluster lost what drove the job ({first[:300]})",
            where=folder,
            fix="check the cluster, and run the same command again",
        ) from error
    finally:
        forget_stop(folder)
    return told
