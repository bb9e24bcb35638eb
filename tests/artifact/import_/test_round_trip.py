"""Out and in again: what an export writes is the same model when it is imported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ingot.api.importing import import_model
from ingot.artifact import open_ingot
from tests.artifact.import_.conftest import Maker
from tests.artifact.import_.tiny import FAMILIES
from tests.conftest import Cli


@pytest.mark.parametrize("name", FAMILIES)
def test_a_hugging_face_export_is_the_same_model(
    name: str, checkpoint: Maker, here: Cli, tmp_path: Path
) -> None:
    folder, _ = checkpoint(name)
    first, second, exported = (tmp_path / part for part in ("a.ingot", "b.ingot", "exported"))
    import_model(folder, first, dtype="float32").close()
    here("export", first, "--to", "hf", "--out", exported, "--dtype", "float32")
    import_model(exported, second, dtype="float32").close()
    with open_ingot(first) as before, open_ingot(second) as after:
        assert after.config == before.config
        exact = dict(before.float32())
        for tensor, values in after.float32():
            # Gemma's 1 + w is taken apart and put together again.
            np.testing.assert_allclose(values, exact[tensor], rtol=1e-6, atol=1e-7)
