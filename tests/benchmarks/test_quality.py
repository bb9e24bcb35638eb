from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.quality import Format, bits_per_byte, float32_loss, held_out, served_loss
from ingot.artifact import Scheme
from ingot.training.run_folder.run import open_run


def test_formats_are_scored_as_they_serve(trained: Path, tmp_path: Path) -> None:
    run = open_run(trained)
    windows = held_out(run, 2000)
    assert windows.shape[1] == run.model_config.max_position_embeddings + 1
    exact = float32_loss(run, windows)
    assert 2 < exact * bits_per_byte(run) < 8  # a model of 30 updates, below the 8 of chance
    forms = (Format("", None), Format("", Scheme("int8")), Format("", Scheme("int4", 128)))
    bf16, int8, int4 = (
        served_loss(trained, form, tmp_path / f"{number}.ingot", windows)
        for number, form in enumerate(forms)
    )
    assert bf16 == pytest.approx(exact, rel=5e-3)
    assert abs(bf16 - exact) < abs(int4 - exact)
    assert abs(int8 - exact) < abs(int4 - exact)
