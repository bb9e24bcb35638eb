"""The real SmolLM2, for the tests that need it."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from ingot.demo import smollm2
from ingot.errors import IngotError


@functools.cache
def _found() -> Path | str:
    try:
        return smollm2.fetch()
    except IngotError as error:
        return str(error)


def fetched() -> Path:
    """Return the path of the file in Ingot's cache; skip the test where it cannot be fetched."""
    found = _found()
    if isinstance(found, str):
        pytest.skip(f"needs SmolLM2, which could not be fetched: {found}")
    return found
