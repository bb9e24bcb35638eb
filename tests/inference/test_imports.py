from __future__ import annotations

import subprocess
from collections.abc import Callable


def test_importing_inference_leaves_pytorch_out(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    script = (
        "import sys, ingot.inference as inference\n"
        "[getattr(inference, name) for name in inference.__all__]\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    result = run_python(script)
    assert result.returncode == 0, result.stderr
