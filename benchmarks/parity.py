"""Do other engines answer as Ingot does, with what ``ingot export`` wrote for them?

``python -m benchmarks.parity INGOT [INGOT ...] [--text FILE] [--only ENGINE] [--json FILE]``: each
ingot, in full precision, goes out to every engine that is installed (``python -m benchmarks.peers
install``). Each continues 20 prompts greedily by 64 tokens and scores a text. Where an engine
computes in float32 the answers must be equal; otherwise the perplexity must be within 0.5% of
that of the same weights in float32. The reference is Ingot's PyTorch module in float32.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmarks.peers.environments import ENVIRONMENTS, EnvironmentName
from benchmarks.peers.parity import ParityAnswer, ParityRequest, ask_parity
from benchmarks.peers.process import PeerFailed
from benchmarks.report import Report, Row, arguments
from ingot.artifact import Provenance, Scheme, freeze, open_ingot, round_model
from ingot.artifact.export import export_compressed, export_gguf, export_hf
from ingot.errors import IngotError
from ingot.model.transformer import Transformer

_PROMPTS, _PROMPT, _ANSWER = 20, 16, 64
_WINDOWS, _WINDOW = 8, 256
_WORST = 0.005  # of perplexity, where an engine computes otherwise
_TEXTS = ("docs/training.md", "src/ingot/cli/training.py")

Stored = Literal["full", "int8", "int4"]


@dataclass(frozen=True)
class Case:
    """An engine with one export of one ingot."""

    engine: str
    environment: EnvironmentName
    stored: Stored
    """Which of the model's ingots is exported."""
    export: str
    """What it is exported as, a key of ``_WRITERS``."""
    options: tuple[str, ...]
    """What the engine's driver takes after the model, but for threads."""
    exact: bool = False
    """Whether it computes in float32 with the same weights."""


_LLAMA, _VLLM, _OPENVINO = "llama.cpp", "vLLM", "OpenVINO GenAI"
CASES = (
    Case("transformers", "transformers", "full", "hf float32", ("float32",), exact=True),
    Case("transformers", "transformers", "full", "hf bfloat16", ("bfloat16",)),
    Case("transformers", "transformers", "int8", "W8A8", ("float32",)),
    Case("transformers", "transformers", "int4", "W4A16", ("float32",)),
    Case(_LLAMA, "llama", "full", "GGUF F32", (), exact=True),
    Case(_LLAMA, "llama", "full", "GGUF BF16", ()),
    Case(_LLAMA, "llama", "full", "GGUF F16", ()),
    Case(_LLAMA, "llama", "int8", "GGUF Q8_0", ()),
    Case(_LLAMA, "llama", "int4", "GGUF Q4_0", ()),
    Case(_OPENVINO, "openvino", "full", "hf float32", (), exact=True),
    Case(_VLLM, "vllm", "full", "hf float32", ("float32",), exact=True),
    Case(_VLLM, "vllm", "full", "hf bfloat16", ("bfloat16",)),
    Case(_VLLM, "vllm", "int8", "W8A8", ("bfloat16",)),
    Case(_VLLM, "vllm", "int4", "W4A16", ("bfloat16",)),
)
_WRITERS: Mapping[str, Callable[..., object]] = {
    "hf float32": partial(export_hf, dtype="float32"),
    "hf bfloat16": partial(export_hf, dtype="bfloat16"),
    "W8A8": export_compressed,
    "W4A16": export_compressed,
    "GGUF F32": partial(export_gguf, kind="f32"),
    "GGUF BF16": partial(export_gguf, kind="bf16"),
    "GGUF F16": partial(export_gguf, kind="f16"),
    "GGUF Q8_0": partial(export_gguf, kind="q8_0"),
    "GGUF Q4_0": partial(export_gguf, kind="q4_0"),
}


class Reference:
    """Ingot's own module in float32, with the weights of an ingot.

    Args:
        path: The ingot.
    """

    def __init__(self, path: Path) -> None:
        with open_ingot(path) as ingot:
            self.model = Transformer(ingot.config)
            weights = {name: torch.from_numpy(each.copy()) for name, each in ingot.float32()}
        self.model.load_state_dict(weights)

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the scores (tokens, vocabulary) of what comes next."""
        return self.model.logits(self.model(torch.tensor([list(ids)])))[0]

    def perplexity(self, windows: Sequence[Sequence[int]]) -> float:
        """Return it over all tokens of the windows but each first."""
        losses = [
            torch.nn.functional.cross_entropy(
                self.logits(ids)[:-1].double(), torch.tensor(ids[1:]), reduction="none"
            )
            for ids in windows
        ]
        return math.exp(float(torch.cat(losses).mean()))

    def differences(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
    ) -> list[float]:
        """Return, for each answer that is not greedy, by how much its first other token is less.

        One pass over prompt and answer tells it: up to the first token that is not the most
        probable one, the answer is the reference's own.
        """
        gaps = []
        for prompt, answer in zip(prompts, answers, strict=True):
            scores = self.logits([*prompt, *answer])[len(prompt) - 1 : -1]
            wrong = (scores.argmax(-1) != torch.tensor(answer)).nonzero()
            if len(wrong):
                step = int(wrong[0, 0])
                gaps.append(float(scores[step].max() - scores[step, answer[step]]))
        return gaps


def main() -> int:
    """Run the benchmark; return 0 if every engine is installed and every bar is met."""
    parser = arguments("parity", "Other engines with what ingot export writes.")
    parser.add_argument("ingots", type=Path, nargs="+", metavar="INGOT")
    parser.add_argument("--text", type=Path, help="text of prompts and perplexity")
    parser.add_argument("--only", nargs="+", choices=sorted(ENVIRONMENTS), help="engines to ask")
    parser.add_argument(
        "--exports", nargs="+", choices=sorted(_WRITERS), metavar="EXPORT", help="what to export"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of each engine")
    given = parser.parse_args()
    report = Report("parity", _settings(given), ("ingot", "torch"))
    with tempfile.TemporaryDirectory(prefix="ingot-parity-") as name:
        for number, path in enumerate(given.ingots):
            folder = Path(name) / str(number)
            folder.mkdir()
            _compare(path, folder, given, report)
    return report.finish(given.json)


def _settings(given: argparse.Namespace) -> dict[str, object]:
    return {
        "ingots": [str(path) for path in given.ingots],
        "prompts": _PROMPTS,
        "answer": _ANSWER,
        "windows": [_WINDOWS, _WINDOW],
        "quick": given.quick,
    }


def _compare(path: Path, folder: Path, given: argparse.Namespace, report: Report) -> None:
    """Add the rows of one ingot."""
    request = prompts_and_windows(path, given.text, quick=given.quick)
    references: dict[Stored, tuple[Reference, float]] = {}
    for case in CASES:
        if given.only and case.environment not in given.only:
            continue
        if given.exports and case.export not in given.exports:
            continue
        name = f"{path.stem}: {case.engine}, {case.export}"
        ingot = _ingot(path, case.stored, folder)
        try:
            model = _exported(case, ingot, folder)
            if not ENVIRONMENTS[case.environment].installed:
                raise PeerFailed("is not installed")
            threads = () if case.environment == "transformers" else (str(given.threads),)
            found = ask_parity(case.environment, model, request, *case.options, *threads)
        except (IngotError, PeerFailed, subprocess.SubprocessError) as error:
            report.add(Row(name, None, "", bar="answers", met=False))
            report.note(f"{name}: {error}")
            continue
        if case.stored not in references:
            reference = Reference(ingot)
            references[case.stored] = reference, reference.perplexity(request.windows)
        report.add(judged(name, case, request, found, *references[case.stored]))


def judged(
    name: str,
    case: Case,
    request: ParityRequest,
    found: ParityAnswer,
    reference: Reference,
    wanted: float,
) -> Row:
    """Return the row of what an engine answered; ``wanted`` is the reference's perplexity."""
    gaps = reference.differences(request.prompts, found.answers)
    equal = len(request.prompts) - len(gaps)
    perplexity = math.exp(found.loss)
    change = perplexity / wanted - 1
    told = f"{change:+.3%} of {wanted:.3f}"
    if gaps:
        told += f", gap {max(gaps):.2g}"
    bar = "equal answers" if case.exact else f"perplexity ±{_WORST:.1%}"
    met = not gaps if case.exact else abs(change) <= _WORST
    return Row(name, equal, f"of {len(request.prompts)} equal", peer=told, bar=bar, met=met)


def prompts_and_windows(path: Path, text: Path | None, *, quick: bool) -> ParityRequest:
    """Cut prompts and windows out of texts, at even distances."""
    with open_ingot(path) as ingot:
        tokenizer, config = ingot.tokenizer, ingot.config
    texts = [text] if text else [Path(name) for name in _TEXTS]
    ids = [i for each in texts for i in tokenizer.encode(each.read_text(encoding="utf-8"))]
    prompts = 4 if quick else _PROMPTS
    window = min(_WINDOW, config.max_position_embeddings - 1)  # vLLM generates a token, too
    answer = min(_ANSWER, config.max_position_embeddings - _PROMPT)
    return ParityRequest(
        prompts=_cut(ids, prompts, _PROMPT),
        answer=16 if quick else answer,
        windows=_cut(ids, 2 if quick else _WINDOWS, window),
    )


def _cut(ids: list[int], count: int, length: int) -> list[list[int]]:
    starts = np.linspace(0, len(ids) - length, count).astype(int)
    return [ids[start : start + length] for start in starts.tolist()]


def _ingot(path: Path, stored: Stored, folder: Path) -> Path:
    """Return the ingot in full precision, or rounded to int8 or int4."""
    out = folder / f"{stored}.ingot"
    if stored == "full" or out.exists():
        return path if stored == "full" else out
    with open_ingot(path) as ingot:
        weights = {name: values.copy() for name, values in ingot.float32()}
        freeze(
            weights,
            ingot.config,
            ingot.tokenizer,
            out,
            provenance=Provenance(parent=ingot.digest),
            quantized=round_model(weights, ingot.config, Scheme(stored)),
        ).close()
    return out


def _exported(case: Case, path: Path, folder: Path) -> Path:
    """Export an ingot for a case, once; OpenVINO makes its own format of the folder."""
    suffix = ".gguf" if case.environment == "llama" else ""
    out = folder / f"{case.export.replace(' ', '-')}{suffix}"
    if not out.exists():
        with open_ingot(path) as ingot:
            _WRITERS[case.export](ingot, out)
    if case.environment != "openvino":
        return out
    made = folder / "openvino"
    if ENVIRONMENTS["openvino"].installed:
        tool = str(ENVIRONMENTS["openvino"].python.with_name("optimum-cli"))
        command = [tool, "export", "openvino", "--model", str(out), "--weight-format", "fp32"]
        command += ["--task", "text-generation-with-past", str(made)]
        subprocess.run(command, check=True, capture_output=True, timeout=3600)  # noqa: S603
    return made


if __name__ == "__main__":
    sys.exit(main())
