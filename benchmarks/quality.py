"""Quality of each number format, scored through the serving executor.

``python -m benchmarks.quality RUN [--tokens N] [--json FILE]``, RUN being a folder that
``ingot train`` or ``ingot demo`` filled.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.report import Report, Row, arguments
from ingot.api.training import freeze
from ingot.artifact import Scheme, open_ingot
from ingot.inference import SamplingParams
from ingot.inference.executors.base import ModelInput, SamplingRow
from ingot.inference.executors.native import NativeExecutor
from ingot.model.transformer import Transformer
from ingot.training.run_folder import checkpoint as checkpoints
from ingot.training.run_folder.run import PretrainingRun, open_pretraining_run
from ingot.training.run_folder.trained_weights import trained_weights

_BLOCK = 16
_GREEDY = SamplingRow(SamplingParams(temperature=0), 0, 0)


@dataclass(frozen=True)
class Format:
    """A number format of the weights and of the key-value cache."""

    name: str
    scheme: Scheme | None
    calibrated: bool = False
    cache: Literal["f32", "bf16", "int8"] = "bf16"
    most: float | None = None
    """Greatest increase over the loss in float32, as a share."""


FORMATS = (
    Format("bf16", None, most=0.001),
    Format("bf16, keys and values in int8", None, cache="int8", most=0.001),
    Format("int8", Scheme("int8"), most=0.003),
    *(
        Format(f"int4, group {group}, {how}", Scheme("int4", group), how == "GPTQ", most=0.03)
        for group in (32, 64, 128)
        for how in ("rounded", "GPTQ")
    ),
)


def main() -> int:
    """Run the benchmark; return 0 if every bar is met."""
    parser = arguments("quality", "What number formats cost in quality.")
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("--tokens", type=int, default=65_536, help="of the held-out text, scored")
    given = parser.parse_args()
    run = open_pretraining_run(given.run)
    windows = held_out(run, 4096 if given.quick else given.tokens)
    report = Report("quality", {"run": str(given.run), "tokens": windows.size}, ("ingot", "torch"))
    bits = bits_per_byte(run)
    exact = float32_loss(run, windows)
    report.add(Row("float32, PyTorch", exact * bits, "bits/byte"))
    with tempfile.TemporaryDirectory(prefix="ingot-quality-") as folder:
        for number, each in enumerate(FORMATS):
            out = Path(folder) / f"{number}.ingot"
            loss = served_loss(given.run, each, out, windows)
            worse = loss / exact - 1
            report.add(
                Row(
                    each.name,
                    loss * bits,
                    "bits/byte",
                    peer=f"{worse:+.3%} of float32",
                    bar=None if each.most is None else f"≤ +{each.most:.1%}",
                    met=None if each.most is None else worse <= each.most,
                )
            )
    return report.finish(given.json)


def held_out(run: PretrainingRun, tokens: int) -> NDArray[np.int64]:
    """Return windows (N, T + 1) of the held-out text, T being the model's context."""
    text = run.open_corpus().validation
    width = run.model_config.max_position_embeddings + 1
    count = max(1, min(tokens, len(text)) // width)
    return text.read(0, count * width).reshape(count, width)


def bits_per_byte(run: PretrainingRun) -> float:
    """Return the factor from nats per token to bits per byte of the held-out text."""
    split = run.open_corpus().manifest.validation
    return split.tokens / split.bytes / float(np.log(2))


def float32_loss(run: PretrainingRun, windows: NDArray[np.int64]) -> float:
    """Return the loss of the trained weights in float32, in nats per token."""
    model = Transformer(run.model_config)
    model.load_state_dict(trained_weights(run, checkpoints.best(run.path)))
    total = 0.0
    with torch.inference_mode():
        for window in torch.from_numpy(windows):
            logits = model.logits(model(window[None, :-1]))[0]
            total += float(torch.nn.functional.cross_entropy(logits, window[1:]))
    return total / len(windows)


def served_loss(run: Path, form: Format, out: Path, windows: NDArray[np.int64]) -> float:
    """Freeze a run in a format and return its loss through the native core, in nats per token."""
    freeze(run, out, quantize=form.scheme, calibrated=form.calibrated).close()
    with open_ingot(out) as ingot:
        blocks = -(-windows.shape[1] // _BLOCK)
        executor = NativeExecutor(ingot, num_blocks=blocks, block_size=_BLOCK, kv_cache=form.cache)
        rows = (_GREEDY,) * (windows.shape[1] - 2)
        total = 0.0
        for window in windows:
            chunk = ModelInput(window[:-1].tolist(), 0, list(range(blocks)), _GREEDY, rows)
            scores = executor.model.logits([chunk]).astype(np.float64)
            chosen = scores[np.arange(len(scores)), window[1:]]
            total += float(np.mean(np.logaddexp.reduce(scores, axis=1) - chosen))
        executor.close()
    return total / len(windows)


if __name__ == "__main__":
    sys.exit(main())
