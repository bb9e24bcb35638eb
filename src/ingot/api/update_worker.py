"""Program of the process that makes updates of a copy of a served model, for the page.

One line of JSON comes in: ``path``, ``text`` and ``updates``. JSON lines go out, the records of
``training/loop/update_trace.py``, or one ``{"event": "failed", "message": …}``. It runs beside a
server, so at the lowest priority and on one core.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import orjson

from ingot.errors import IngotError
from ingot.process import end_with_parent, set_torch_threads

_NICENESS = 19


def main() -> None:
    """Answer the one request on standard input."""
    end_with_parent()
    # Ctrl-C in a terminal is for the server alone. Set here, because uvloop's processes take no
    # group. Not a new session: its share of the CPUs would not depend on the nice value.
    os.setpgrp()
    os.nice(_NICENESS)
    request = orjson.loads(sys.stdin.buffer.readline())
    try:
        from ingot.training.loop.update_trace import trace_updates  # noqa: PLC0415 (may lack)

        set_torch_threads(1)
        for record in trace_updates(Path(request["path"]), request["text"], request["updates"]):
            _say(record)
    except ModuleNotFoundError as error:
        _say({"event": "failed", "message": f"training needs {error.name}: install ingot[train]"})
    except IngotError as error:
        _say({"event": "failed", "message": str(error)})
    except MemoryError:
        _say({"event": "failed", "message": "there is not enough memory to train this model"})


def _say(record: dict[str, object]) -> None:
    sys.stdout.buffer.write(orjson.dumps(record) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
