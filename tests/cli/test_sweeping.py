"""``ingot sweep`` and ``ingot train --cluster``, as far as they need no Ray."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from importlib.util import find_spec

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
without_ray = pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")


@without_ray
@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["sweep", "texts", "--over", "run.seed=1,2"], "ingot sweep"),
        (["train", "texts", "--cluster", "local"], "--cluster"),
        (["resume", "run", "--cluster", "local", "--workers", "2"], "--cluster"),
    ],
)
def test_ray_is_needed(here: Cli, command: list[str], option: str) -> None:
    done = here(*command, code=2)
    assert done.stderr.splitlines() == [f"error: {option}: needs Ray; pip install 'ingot[cluster]'"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2"], "--workers: needs --cluster; "),
        (["--cluster", "local", "--nodes", "2"], "--cluster: cannot be combined with --nodes; "),
        (["--cluster", "local", "--rendezvous", "a:1"], "--cluster: cannot be combined with "),
        (["--cluster", "local", "--workers", "two"], "--workers: must be a number of workers, not"),
        (["--cluster", "local", "--watch", "0"], "--watch: cannot be combined with several"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    here: Cli, arguments: list[str], message: str
) -> None:
    done = here("train", "texts", *arguments, code=2)
    assert done.stderr.startswith(f"error: {message}")


def test_a_sweep_says_what_is_wrong_with_its_settings(here: Cli) -> None:
    assert "--over: says nothing to try" in here("sweep", "texts", code=2).stderr
    unknown = here("sweep", "texts", "--over", "optimizer.lr=1,2", code=2).stderr
    assert unknown.startswith("error: --over optimizer.lr=1,2: unknown setting 'optimizer.lr'")
