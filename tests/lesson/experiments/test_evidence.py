from __future__ import annotations

from pathlib import Path

from ingot.lesson.experiments.evidence import refused_tampering


def test_one_flipped_bit_is_refused_by_name(sealed: Path, tmp_path: Path) -> None:
    words = refused_tampering(sealed, tmp_path)
    assert words.startswith("model.safetensors: tensor")
    assert "does not match its digest" in words
    assert list(tmp_path.iterdir()) == []
