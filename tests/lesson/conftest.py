from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingot.api import phase_two
from ingot.api.phase_two import Model
from ingot.lesson.phases import Phases, measure_phases


@pytest.fixture(scope="session")
def model(sealed: Path) -> Iterator[Model]:
    """The small ingot of ``trained``, loaded."""
    with phase_two.load(sealed) as model:
        yield model


@pytest.fixture(scope="session")
def measured(trained: Path, model: Model) -> Phases:
    """Both phases of that model, measured once."""
    return measure_phases(trained, model, requests=3)
