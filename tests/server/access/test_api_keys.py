from __future__ import annotations

import hashlib
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.errors import UsageError
from ingot.server.access.api_keys import Allowance, Keys, make_key
from ingot.server.http.errors import ApiError

Cli = Callable[..., subprocess.CompletedProcess[str]]


class Clock:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, *entries: str) -> Path:
    path.write_text("\n".join(entries))
    return path


def test_a_key_is_found_by_its_text_and_the_file_does_not_hold_it(tmp_path: Path) -> None:
    key, entry = make_key("alice")
    keys = Keys(write(tmp_path / "keys.toml", entry))
    found = keys.find(key)
    assert found is not None
    assert found.name == "alice"
    assert not found.admin
    assert key not in entry
    assert hashlib.sha256(key.encode()).hexdigest() in entry
    assert keys.find(key + "x") is None
    assert keys.find("") is None


def test_keys_differ() -> None:
    assert make_key("a")[0] != make_key("a")[0]


def test_the_command_makes_an_entry(here: Cli) -> None:
    done = here("new-key", "bob")
    entry = tomllib.loads(done.stdout)["key"][0]
    assert entry["name"] == "bob"
    assert entry["sha256"] == hashlib.sha256(done.stderr.strip().encode()).hexdigest()
    assert "is not a name for a key" in here("new-key", 'a"b', code=2).stderr


@pytest.mark.parametrize(
    "text",
    [
        "",
        "key = 3",
        "[[key]]",
        "[[key]]\nname = 'a'\nsha256 = 'short'",
        "[[key]]\nname = 'a b'\nsha256 = '" + "0" * 64 + "'",
        "[[key]]\nname = 'a'\nkey = 'plain'\nsha256 = '" + "0" * 64 + "'",
        "[[key]]\nname = 'a'\nrequests_per_minute = 0\nsha256 = '" + "0" * 64 + "'",
        ("[[key]]\nname = 'a'\nsha256 = '" + "0" * 64 + "'\n") * 2,
        "[[key]\n",
        "a = " + "[" * 100_000,
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"keys\.toml"):
        Keys(write(tmp_path / "keys.toml", text))


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        Keys(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not valid TOML"):
        Keys(tmp_path / "bytes")


def test_a_reload_takes_new_keys_and_keeps_the_old_where_the_file_is_bad(tmp_path: Path) -> None:
    first, entry = make_key("a")
    second, other = make_key("b")
    path = write(tmp_path / "keys.toml", entry)
    keys = Keys(path)
    write(path, other)
    keys.reload()
    assert keys.find(first) is None
    assert keys.find(second) is not None
    write(path, "[[key")
    with pytest.raises(UsageError):
        keys.reload()
    assert keys.find(second) is not None


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666, 0o777])
def test_a_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """FAULTS B6: a user who can write it can add a key."""
    path = write(tmp_path / "keys.toml", make_key("a")[1])
    keys = Keys(path)
    path.chmod(mode)
    with pytest.raises(UsageError, match=rf"mode {mode:04o}.*chmod go-w"):
        Keys(path)
    with pytest.raises(UsageError):
        keys.reload()
    path.chmod(0o640)
    keys.reload()


@pytest.mark.parametrize("text", ["", "# nobody\n", "key = []\n", None])
def test_the_last_key_can_be_revoked(tmp_path: Path, text: str | None) -> None:
    """FAULTS B6: an empty file, or none, accepts no key after a reload."""
    key, entry = make_key("a")
    path = write(tmp_path / "keys.toml", entry)
    keys = Keys(path)
    assert keys.find(key) is not None
    if text is None:
        path.unlink()
    else:
        write(path, text)
    keys.reload()
    assert keys.find(key) is None
    write(path, entry)
    keys.reload()
    assert keys.find(key) is not None


def test_requests_per_minute(tmp_path: Path) -> None:
    key, entry = make_key("a")
    path = write(tmp_path / "keys.toml", entry + "requests_per_minute = 3\n")
    keys = Keys(path)
    found = keys.find(key)
    assert found is not None
    for _ in range(3):
        keys.admit(found)
    with pytest.raises(ApiError) as caught:
        keys.admit(found)
    assert caught.value.status == 429
    assert 1 <= int(caught.value.headers["retry-after"]) <= 20
    keys.reload()  # is no way around it
    with pytest.raises(ApiError):
        keys.admit(found)


def test_tokens_per_minute_are_paid_after_use(tmp_path: Path) -> None:
    key, entry = make_key("a")
    keys = Keys(write(tmp_path / "keys.toml", entry + "tokens_per_minute = 60\n"))
    found = keys.find(key)
    assert found is not None
    keys.admit(found)
    keys.charge(found, 179)
    with pytest.raises(ApiError, match="tokens per minute") as caught:
        keys.admit(found)
    assert int(caught.value.headers["retry-after"]) == 120


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), min_size=1, max_size=30),
)
def test_no_more_is_used_over_time_than_allowed(limit: int, steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    allowance = Allowance(limit, clock)
    used, last = 0, 0
    for pause, cost in steps:
        clock.now += pause
        if allowance.wait_s() == 0:
            allowance.use(cost)
            used, last = used + cost, cost
    assert used - last <= limit + clock.now * limit / 60 + 1e-6


def test_one_more_is_there_as_soon_as_it_has_refilled() -> None:
    clock = Clock()
    allowance = Allowance(60, clock)
    allowance.use(60)
    assert allowance.wait_s() == pytest.approx(1)
    clock.now += 1
    assert allowance.wait_s() == 0


@given(st.integers(1, 1000), st.integers(1, 5000))
def test_the_wait_is_exact(limit: int, cost: int) -> None:
    clock = Clock()
    allowance = Allowance(limit, clock)
    allowance.use(cost)
    wait = allowance.wait_s()
    if wait > 0:
        clock.now += wait * 0.999
        assert allowance.wait_s() > 0
        clock.now += wait * 0.001 + 1e-6
    assert allowance.wait_s() == pytest.approx(0, abs=1e-6)
