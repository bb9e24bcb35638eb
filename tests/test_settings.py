from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from ingot.errors import RecipeError, UsageError
from ingot.settings import check_tables, merge_tables, parse_settings, read_toml, setting_keys


class Sizes(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    width: int = Field(8, ge=1)
    names: tuple[str, ...] = ()
    folder: Path | None = None


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sizes: Sizes = Sizes()
    further: Sizes | None = None


def checked(*texts: str) -> Config:
    return check_tables(parse_settings(texts, Config, UsageError), Config, UsageError)


def test_values_are_json_or_texts_and_the_last_one_wins() -> None:
    config = checked(
        "sizes.width=3", "sizes.width = 4", 'sizes.names=["a", "b"]', "further.folder=/x=y"
    )
    assert config.sizes == Sizes(width=4, names=("a", "b"))
    assert config.further == Sizes(folder=Path("/x=y"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("width=3", "--set width=3: is not a setting; write --set sizes.width=3"),
        ("sizes.width", "--set sizes.width: is not a setting; write --set section.key=value"),
        ("sizes.widht=3", 'unknown setting "sizes.widht"; did you mean "sizes.width"?'),
        ("size.width=3", 'unknown setting "size"; did you mean "sizes"?'),
        ("sizes.width=0", "sizes.width must be at least 1, got 0; raise it"),
        ("sizes.width=" + "[" * 100_000, "sizes.width must be a valid integer; correct it"),
    ],
)
def test_a_bad_setting_is_refused_with_the_right_one(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(text)
    assert str(caught.value) == said


def test_later_tables_win_key_by_key() -> None:
    merged = merge_tables({"a": {"x": 1, "y": 1}}, {"a": {"y": 2}}, {"b": {"z": 3}})
    assert merged == {"a": {"x": 1, "y": 2}, "b": {"z": 3}}


@pytest.mark.parametrize(
    "data", [b"a = [", b"\xff\xfe", b"a = " + b"1" * 5000, b"a = " + b"[" * 5000]
)
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(data)
    with pytest.raises(RecipeError, match=r"x\.toml: is not valid TOML"):
        read_toml(path, RecipeError)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"x\.toml: cannot be read"):
        read_toml(tmp_path / "x.toml", RecipeError)


def test_every_key_of_every_section_is_known() -> None:
    keys = [f"{section}.{key}" for section in Config.model_fields for key in Sizes.model_fields]
    assert setting_keys(Config) == keys
