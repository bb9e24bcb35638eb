from __future__ import annotations

from pathlib import Path

import pytest

from ingot.artifact.export import export_modelfile
from ingot.errors import UsageError
from tests.artifact.export.conftest import Make


def test_writes_gguf_and_modelfile(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with make() as ingot:
        made = export_modelfile(
            ingot, out, kind="q8_0", system='Say "yes".', license_text="Apache-2.0"
        )
    text = (out / "Modelfile").read_text()
    assert text.startswith('FROM ./model.gguf\nTEMPLATE """{{- ')
    assert 'SYSTEM """Say "yes"."""\n' in text
    assert 'PARAMETER stop "<|endoftext|>"\n' in text
    assert "PARAMETER num_ctx 64\n" in text
    assert 'LICENSE "Apache-2.0"\n' in text
    assert (out / "model.gguf").read_bytes()[:4] == b"GGUF"
    assert (made.kind, made.path) == ("Q8_0", out)
    assert sorted(path.name for path in out.iterdir()) == ["Modelfile", "model.gguf"]


def test_a_text_that_a_modelfile_cannot_hold_is_refused(make: Make, tmp_path: Path) -> None:
    with make() as ingot, pytest.raises(UsageError, match=r"system.*quotation marks"):
        export_modelfile(ingot, tmp_path / "out", system='a """ b')
    assert not (tmp_path / "out").exists()


def test_replaces_an_earlier_one_alone(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with make() as ingot:
        export_modelfile(ingot, out)
        export_modelfile(ingot, out, overwrite=True)
        (out / "adapter.gguf").write_bytes(b"mine")
        with pytest.raises(UsageError, match=r"adapter\.gguf"):
            export_modelfile(ingot, out, overwrite=True)
