from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ingot.artifact import chat_template_source, open_ingot
from ingot.errors import ArtifactError
from ingot.model.chat import DEFAULT_TEMPLATE


def test_an_ingot_without_a_template_gets_the_default_one(pristine: Path) -> None:
    with open_ingot(pristine) as ingot:
        assert chat_template_source(ingot) == DEFAULT_TEMPLATE


def test_a_template_that_was_changed_after_sealing_is_refused(
    pristine: Path, tmp_path: Path
) -> None:
    path = tmp_path / "changed.ingot"
    shutil.copytree(pristine, path)
    with open_ingot(path) as ingot:
        file = path / "tokenizer_config.json"
        file.chmod(0o644)
        config = json.loads(file.read_text()) | {"chat_template": "{{ 'mine' }}"}
        file.write_text(json.dumps(config))
        with pytest.raises(ArtifactError, match="not the sealed one"):
            chat_template_source(ingot)
        file.unlink()
        with pytest.raises(ArtifactError, match="cannot be read"):
            chat_template_source(ingot)
