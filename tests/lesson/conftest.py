from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingot.api import inference
from ingot.api.inference import Model
from ingot.lesson.experiments.phases import Phases, measure_phases


@pytest.fixture(scope="session")
def model(sealed: Path) -> Iterator[Model]:
    """The small ingot of ``trained``, loaded."""
    with inference.load(sealed) as model:
        yield model


@pytest.fixture(scope="session")
def measured(trained: Path, model: Model) -> Phases:
    """Both phases of that model, measured once."""
    return measure_phases(trained, model, requests=3)
