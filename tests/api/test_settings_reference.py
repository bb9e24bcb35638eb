from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from ingot.api.settings_reference import all_sections, describe, find_sections, to_markdown
from ingot.errors import UsageError
from ingot.server.settings import ServeSettings
from ingot.settings import setting_keys
from ingot.training.config.recipe import Recipe

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_what_the_code_says() -> None:
    fresh = to_markdown(all_sections())
    assert PAGE.read_text() == fresh, "run: ingot settings --markdown > docs/settings.md"


def test_every_key_is_there_once_and_has_a_meaning() -> None:
    settings = [setting for section in all_sections() for setting in section.settings]
    assert [setting.key for setting in settings] == setting_keys(Recipe) + setting_keys(
        ServeSettings
    )
    assert [setting.key for setting in settings if not setting.meaning.endswith((".", ")"))] == []
    assert [section.name for section in all_sections() if not section.meaning] == []


class Base(BaseModel):
    """Two kinds of
    values."""

    plain: int = 3
    """A number with ``code``."""
    changed: str = "a"
    """Before."""


class Kinds(Base):
    changed: str = "b"
    """After."""
    count: int = Field(1, ge=1, le=1 << 20)
    """One."""
    share: float | None = Field(None, gt=0, lt=1)
    """Two."""
    seconds: Annotated[float, Field(gt=0)] = 10.0
    """Three."""
    names: tuple[str, ...] = ("x",)
    """Four."""
    limit: Annotated[int, Field(ge=8, lt=1000)] | None = None
    """Five."""
    mode: Literal["a", "b"] | None = None
    """Six."""
    weights: dict[str, float] | None = None
    """Seven."""
    folder: Path | None = None
    """Eight."""
    on: bool = True
    """Nine."""
    most: float = Field(0.5, gt=0, le=0.5)
    """Ten."""


@pytest.mark.parametrize(
    ("key", "kind", "default", "meaning"),
    [
        ("plain", "integer", "3", "A number with `code`."),
        ("changed", "text", '"b"', "After."),
        ("count", "integer from 1 to 2^20", "1", "One."),
        ("share", "number above 0, below 1 or unset", "unset", "Two."),
        ("seconds", "number above 0", "10.0", "Three."),
        ("names", "list of text", '["x"]', "Four."),
        ("limit", "integer from 8, below 1,000 or unset", "unset", "Five."),
        ("mode", '`"a"`, `"b"` or unset', "unset", "Six."),
        ("weights", "table of number or unset", "unset", "Seven."),
        ("folder", "path or unset", "unset", "Eight."),
        ("on", "true or false", "true", "Nine."),
        ("most", "number above 0, at most 0.5", "0.5", "Ten."),
    ],
)
def test_a_field_is_described_by_its_type_range_default_and_text(
    key: str, kind: str, default: str, meaning: str
) -> None:
    found = {setting.key: setting for setting in describe("x", Kinds, "").settings}[f"x.{key}"]
    assert (found.kind, found.default, found.meaning) == (kind, default, meaning)


def test_one_section_or_one_key_is_found() -> None:
    (section,) = find_sections("optimizer")
    assert len(section.settings) == len(Recipe.model_fields["optimizer"].annotation.model_fields)  # type: ignore[union-attr]
    (section,) = find_sections("server.port")
    assert [setting.key for setting in section.settings] == ["server.port"]
    with pytest.raises(UsageError, match=r'did you mean "server\.port"'):
        find_sections("server.prt")
    with pytest.raises(UsageError, match="list them with: ingot settings"):
        find_sections("zzzzzz")
