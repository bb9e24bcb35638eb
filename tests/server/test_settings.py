from __future__ import annotations

from pathlib import Path

import pytest

from ingot.errors import UsageError
from ingot.server import named_paths, read_settings


def test_settings_reach_all_sections() -> None:
    read = read_settings(
        [
            "server.max_body_bytes=2048",
            'server.allowed_hosts=["models.example"]',
            "server.log_file=/var/log/ingot.log",
            "engine.max_waiting=9",
            "cost.price_per_hour=0.4",
        ],
        {"watts": 65.0},
        port=7,
    )
    server = read.server
    assert (server.port, server.max_body_bytes) == (7, 2048)
    assert server.allowed_hosts == ("models.example",)
    assert server.log_file == Path("/var/log/ingot.log")
    assert read.engine.max_waiting == 9
    assert read.cost.money(3600) == 0.4
    assert read.cost.energy_kwh(3600) == 0.065


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("port=3", "write --set server.port=3"),
        ("server.port", "is not a setting"),
        ("model.size=3", 'unknown setting "model"'),
        ("engine.max_waitin=3", 'did you mean "engine.max_waiting"'),
        ("server.nothing_like_it=3", 'unknown setting "server.nothing_like_it"; remove it'),
        ("server.request_timeout_s=0", "server.request_timeout_s"),
        ("server.request_timeout_s=nan", "server.request_timeout_s"),
        ("engine.max_waiting=many", "engine.max_waiting"),
    ],
)
def test_a_bad_setting_is_named(setting: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_settings([setting])


def test_ingots_are_named_after_their_folders(tmp_path: Path) -> None:
    (tmp_path / "a=b.ingot").mkdir()
    named = named_paths(
        [str(tmp_path / "one.ingot"), f"two={tmp_path}/x", str(tmp_path / "a=b.ingot")]
    )
    assert named == {
        "one": tmp_path / "one.ingot",
        "two": tmp_path / "x",
        "a=b": tmp_path / "a=b.ingot",
    }
    with pytest.raises(UsageError, match="names two ingots"):
        named_paths(["x/one.ingot", "y/one.ingot"])
