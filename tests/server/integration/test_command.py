"""``ingot serve`` and ``ingot verify --live``, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ingot.artifact import Ingot

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def url(ingot_path: Path) -> Iterator[str]:
    """The address of a server of two models, started from the command line."""
    command = [sys.executable, "-m", "ingot", "serve", str(ingot_path), f"second={ingot_path}"]
    command += ["--port", "0", "--json", "--set", "server.max_body_bytes=2000"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            said = "".join(iter(process.stdout.readline, "}\n"))
            yield json.loads(said + "}")["url"]
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=300)
    lines = [json.loads(line) for line in errors.splitlines()]  # nothing but the log
    assert {line["path"] for line in lines} >= {"/v1/models", "/admin/verify"}


def test_settings_and_names_reach_the_server(url: str) -> None:
    models = httpx.get(f"{url}/v1/models").json()["data"]
    assert [model["id"] for model in models] == ["tiny", "second"]
    large = {"model": "tiny", "prompt": "x" * 3000}
    assert httpx.post(f"{url}/v1/completions", json=large).status_code == 413


def test_a_server_proves_which_weights_answer(
    url: str, ingot_path: Path, ingot: Ingot, cli: Cli
) -> None:
    done = cli("verify", ingot_path, "--live", url, "--model", "second", "--json")
    assert json.loads(done.stdout) == {
        "ingot": str(ingot_path),
        "digest": ingot.digest,
        "verified": True,
        "signed": False,
        "live": url,
    }
    failed = cli("verify", ingot_path, "--live", url, "--model", "third", code=7)
    assert "unknown model 'third'" in failed.stderr


def test_a_bad_setting_is_named_before_anything_is_loaded(cli: Cli) -> None:
    failed = cli("serve", "none.ingot", "--set", "engine.max_waitin=3", code=2)
    assert 'did you mean "engine.max_waiting"?' in failed.stderr
