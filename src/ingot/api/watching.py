"""A page beside a run, while it goes."""

from __future__ import annotations

from pathlib import Path

from ingot.api import phase_one
from ingot.api.phase_one import Watcher
from ingot.server.watch import WatchServer

_INGOT = "latest.ingot"


def watch(folder: Path, watcher: Watcher, *, port: int = 0) -> WatchServer:
    """Return a page that shows the run in ``folder`` and passes wishes on to it.

    Use it as a context manager around training with the same ``watcher``.

    Args:
        folder: The run's folder, which need not exist yet.
        watcher: The run's.
        port: Port on this machine; 0 takes a free one.

    Raises:
        ServeError: the port cannot be had.
    """
    controls = watcher.controls

    def stop() -> str:
        watcher.interrupted.set()
        return f"stops after this update; go on with: ingot resume {folder}"

    def pause() -> str:
        controls.pause()
        return "waits after this update"

    def go_on() -> str:
        controls.go_on()
        return "goes on"

    def checkpoint() -> str:
        controls.checkpoint()
        return "writes a checkpoint after this update"

    def freeze() -> str:
        out = folder / _INGOT
        with phase_one.freeze(folder, out, latest=True, overwrite=True) as ingot:
            return f"sealed {ingot.digest[:12]}; serve it with: ingot serve {out}"

    actions = {
        "pause": pause,
        "resume": go_on,
        "checkpoint": checkpoint,
        "freeze": freeze,
        "stop": stop,
    }
    return WatchServer(
        folder.name,
        folder / "metrics.jsonl",
        actions,
        lambda: controls.paused,
        port=port,
    )
