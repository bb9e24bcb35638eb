"""The page that shows a run while it trains."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from ingot.api import training
from ingot.api.training import Callbacks
from ingot.errors import ServeError
from ingot.server.page.run_monitor import RunMonitor

_INGOT = "latest.ingot"
_START_S, _STOP_S = 60.0, 40.0


@contextlib.contextmanager
def watch(folder: Path, callbacks: Callbacks, *, port: int = 0) -> Iterator[RunMonitor]:
    """Serve the page of the run in ``folder`` inside the block, with buttons that control it.

    The block trains with the same ``callbacks``. An ingot served from the page stops with it.

    Args:
        folder: The run's folder, which need not exist yet.
        callbacks: What the run is trained with.
        port: Port on this machine; 0 takes a free one.

    Raises:
        ServeError: the port is in use.
    """
    controls = callbacks.controls
    served = _Served()

    def stop() -> str:
        callbacks.interrupted.set()
        return f"Stops after this update. Resume with: ingot resume {folder}"

    def pause() -> str:
        controls.pause()
        return "Pauses after this update."

    def resume() -> str:
        controls.resume()
        return "Resumes."

    def checkpoint() -> str:
        controls.checkpoint()
        return "Writes a checkpoint after this update."

    def freeze() -> str:
        out = folder / _INGOT
        with training.freeze(folder, out, latest=True, overwrite=True) as ingot:
            return f"Sealed {ingot.digest[:12]}. Serve it with: ingot serve {out}"

    def serve() -> str:
        out = folder / _INGOT
        training.freeze(folder, out, latest=True, overwrite=True).close()
        digest, url = served.start(out)
        return f"{digest[:12]} is served at {url} until this run ends."

    actions = {
        "pause": pause,
        "resume": resume,
        "checkpoint": checkpoint,
        "freeze": freeze,
        "serve": serve,
        "stop": stop,
    }
    page = RunMonitor(
        folder.name,
        folder / "metrics.jsonl",
        actions,
        lambda: controls.pause_requested,
        port=port,
    )
    with contextlib.closing(served), page:
        yield page


class _Served:
    """One ingot, served by a separate process: training and inference never meet."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._one_at_a_time = threading.Lock()
        self._closed = False

    def start(self, ingot: Path) -> tuple[str, str]:
        """Serve an ingot instead of the one before; return its digest and the address.

        Raises:
            ServeError: it does not start.
        """
        with self._one_at_a_time:
            self._end()
            command = [sys.executable, "-m", "ingot", "serve", str(ingot), "--port", "0", "--json"]
            process = self._process = subprocess.Popen(  # noqa: S603 (this very program)
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            if self._closed:  # closed in the meantime: end it here
                process.kill()
            late = threading.Timer(_START_S, process.kill)
            late.start()
            try:
                ready = json.loads(_first_object(process))
            except ValueError as error:
                raise ServeError("did not start", where=ingot, fix="try: ingot serve") from error
            finally:
                late.cancel()
            return str(ready["digest"]), str(ready["url"])

    def close(self) -> None:
        """End what is served, its running requests first, and serve nothing more."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _first_object(process: subprocess.Popen[str]) -> str:
    """Return the first JSON object that a process prints; what there is, if it ends before."""
    said = ""
    for line in process.stdout or ():
        said += line
        if line == "}\n":
            break
    return said
