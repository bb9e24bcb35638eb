from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from ingot.artifact import chat_template_source, open_ingot
from ingot.model.chat import DEFAULT_TEMPLATE


def test_an_ingot_without_a_template_gets_the_default_one(pristine: Path) -> None:
    with open_ingot(pristine) as ingot:
        assert chat_template_source(ingot) == DEFAULT_TEMPLATE


def test_the_template_is_the_one_that_was_hashed(pristine: Path, tmp_path: Path) -> None:
    """FAULTS B3: it was read again by path, so a pipe there hung and a moved folder broke chat."""
    path = tmp_path / "changed.ingot"
    shutil.copytree(pristine, path)
    file = path / "tokenizer_config.json"
    with open_ingot(path) as ingot:
        file.chmod(0o644)
        config = json.loads(file.read_text()) | {"chat_template": "{{ 'mine' }}"}
        file.write_text(json.dumps(config))
        assert chat_template_source(ingot) == DEFAULT_TEMPLATE
        file.unlink()
        os.mkfifo(file)
        assert chat_template_source(ingot) == DEFAULT_TEMPLATE
        path.rename(tmp_path / "elsewhere")
        assert chat_template_source(ingot) == DEFAULT_TEMPLATE
