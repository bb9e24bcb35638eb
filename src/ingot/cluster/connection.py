"""The way to a Ray cluster: its address, a deadline, equal versions."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import ray

from ingot.errors import UsageError

LOCAL = "local"
"""The address that starts a cluster of this machine alone, for as long as it is needed."""
_SCHEME = "ray://"
_REACH_S, _GREET_S = 10.0, 60.0
_TRIES = 3
_OPTION = "--cluster"


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Hold a connection to a Ray cluster inside the block.

    Args:
        address: ``ray://HOST:PORT`` (Ray's client port, 10001 by default), or ``local``.

    Raises:
        UsageError: the address is not one, nothing answers there within a deadline, or what
            answers runs another version of Ray, Python or Ingot.
    """
    # Where it is unset Ray sends figures of its use to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    debug = "INGOT_DEBUG" in os.environ
    quiet: dict[str, Any] = {
        "logging_level": logging.INFO if debug else logging.CRITICAL,
        "log_to_driver": debug,
    }
    if address == LOCAL:
        ray.init("local", include_dashboard=False, **quiet)
    else:
        _require_reachable(address)
        _within_deadline(address, quiet)
    try:
        _require_same_version(address)
        yield
    finally:
        ray.shutdown()


def _require_reachable(address: str) -> None:
    host, colon, port = address.removeprefix(_SCHEME).rpartition(":")
    if not address.startswith(_SCHEME) or not colon or not host or not port.isdecimal():
        raise UsageError(
            f"must be ray://HOST:PORT or local, not {address!r}",
            where=_OPTION,
            fix="for example: --cluster ray://head:10001",
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S):
            pass
    except (OSError, OverflowError) as error:
        raise _nothing_there(address, str(error)) from error


def _within_deadline(address: str, options: dict[str, Any]) -> None:
    """Connect in a thread: Ray's own deadlines begin only once something speaks its protocol."""
    failed: list[BaseException] = []

    def connect() -> None:
        for _ in range(_TRIES):
            failed.clear()
            try:
                ray.init(address, **options)
            except BaseException as error:
                failed.append(error)
            # Ray forks a server for each client while threads run; some never begin.
            if not failed or "Initialization failure" not in str(failed[0]):
                return

    thread = threading.Thread(target=connect, name="ingot-ray-connect", daemon=True)
    thread.start()
    thread.join(_GREET_S)
    if thread.is_alive():
        raise _nothing_there(address, f"no answer of Ray's within {_GREET_S:.0f} s")
    if not failed:
        return
    text = " ".join(str(failed[0]).split())
    if "version" in text.lower() and "mismatch" in text.lower():
        raise UsageError(
            f"runs another version ({text})",
            where=address,
            fix="install the same versions of Python, Ray and Ingot on every machine",
        ) from failed[0]
    raise _nothing_there(address, text) from failed[0]


def _require_same_version(address: str) -> None:
    """Check that Ingot is installed on the cluster, in this version.

    Raises:
        UsageError: it is not.
    """
    ours, fix = version("ingot"), "install the same version of Ingot on every machine"
    try:
        theirs = ray.get(ray.remote(num_cpus=0)(_version).remote(), timeout=_GREET_S)
    except ray.exceptions.GetTimeoutError as error:
        raise _nothing_there(address, f"no task ran within {_GREET_S:.0f} s") from error
    except (ImportError, ray.exceptions.RayError) as error:
        problem = f"has no Ingot that runs ({str(error).strip().splitlines()[-1]})"
        raise UsageError(problem, where=address, fix=fix) from error
    if theirs != ours:
        problem = f"runs Ingot {theirs}, and this machine {ours}"
        raise UsageError(problem, where=address, fix=fix)


def _version() -> str:
    return version("ingot")


def _nothing_there(address: str, why: str) -> UsageError:
    return UsageError(
        f"no Ray cluster answers there ({why})",
        where=address,
        fix="start one with: ray start --head --ray-client-server-port 10001",
    )
