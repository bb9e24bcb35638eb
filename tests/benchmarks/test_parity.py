"""The parity benchmark with transformers' driver, in this process."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.parity import CASES, Reference, judged, prompts_and_windows
from benchmarks.peers.drivers.transformers_parity import Transformers
from benchmarks.peers.parity import ParityAnswer
from ingot.artifact import open_ingot
from ingot.artifact.export import export_hf

EXACT, ROUNDED = CASES[0], CASES[1]


def test_transformers_answers_as_the_reference(sealed: Path, tmp_path: Path) -> None:
    request = prompts_and_windows(sealed, None, quick=True)
    reference = Reference(sealed)
    with open_ingot(sealed) as ingot:
        export_hf(ingot, tmp_path / "hf", dtype="float32")
    engine = Transformers(str(tmp_path / "hf"), "float32")
    answers = engine.continue_greedily(request.prompts, request.answer)
    loss = float(np.mean([x for ids in request.windows for x in engine.losses(ids)]))
    wanted = reference.perplexity(request.windows)
    row = judged("a", EXACT, request, ParityAnswer(answers, loss), reference, wanted)
    assert (row.value, row.met) == (4, True)
    assert math.exp(loss) == pytest.approx(wanted, rel=1e-4)

    token = answers[2][5]
    answers[2][5] = (token + 1) % 300
    row = judged("a", EXACT, request, ParityAnswer(answers, loss), reference, wanted)
    assert (row.value, row.met) == (3, False)
    assert "gap" in str(row.peer)
    row = judged("a", ROUNDED, request, ParityAnswer(answers, loss), reference, wanted)
    assert row.met
    row = judged("a", ROUNDED, request, ParityAnswer(answers, loss + 0.01), reference, wanted)
    assert not row.met
