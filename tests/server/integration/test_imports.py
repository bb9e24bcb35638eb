from __future__ import annotations

import subprocess
from collections.abc import Callable


def test_serving_does_not_load_pytorch(
    run_python: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    done = run_python("import sys, ingot.server; print('torch' in sys.modules)")
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
