"""``vllm bench serve``, a load generator that was not written for our server."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import ENVIRONMENTS
from benchmarks.serving import Served

CLIENT = ENVIRONMENTS["vllm"]
_AT_ONCE, _REQUESTS = 64, 256
_PATIENCE_S = 900.0
_RESULT = "figures.json"
_OPTIONS = (
    "--backend openai --base-url {url} --endpoint /v1/completions --model {model}"
    " --dataset-name random --random-input-len {prompt} --random-output-len {answer}"
    f" --num-prompts {_REQUESTS} --max-concurrency {_AT_ONCE} --ignore-eos --temperature 0"
    " --goodput ttft:{ttft} tpot:{tpot} --percentile-metrics ttft,tpot,itl"
    f" --disable-tqdm --save-result --result-filename {_RESULT}"
)
_ROOT = Path(__file__).parents[2]


def ask_with_vllm(
    served: Served, tokenizer: Path, prompt: int, answer: int, objectives: tuple[float, float]
) -> dict[str, Any]:
    """Run it against a server with 64 concurrent streams; return its report.

    Args:
        served: The server.
        tokenizer: A folder in Hugging Face's layout.
        prompt: Tokens of each prompt.
        answer: Tokens of each answer.
        objectives: Longest seconds to the first token, and for each further one.

    Raises:
        RuntimeError: It failed; the text is the end of its output.
    """
    with tempfile.TemporaryDirectory() as out:
        command = (str(CLIENT.python), "-m", "benchmarks.peers.drivers.vllm_client")
        options = _OPTIONS.format(
            url=served.url,
            model=served.model,
            prompt=prompt,
            answer=answer,
            ttft=round(1e3 * objectives[0]),
            tpot=round(1e3 * objectives[1]),
        )
        said = subprocess.run(  # noqa: S603 (a command of our own)
            [*command, *options.split(), "--tokenizer", str(tokenizer), "--result-dir", out],
            check=False,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            cwd=_ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(_ROOT)},
        )
        if said.returncode:
            raise RuntimeError(said.stderr[-800:])
        figures: dict[str, Any] = json.loads((Path(out) / _RESULT).read_bytes())
        return figures
