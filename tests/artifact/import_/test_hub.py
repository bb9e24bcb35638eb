"""Models by their names on the hub, fetched from a real server on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.api.importing import import_model
from ingot.artifact import open_ingot
from ingot.artifact.import_.hub import HubName
from ingot.errors import UsageError
from tests.artifact.import_.conftest import Maker
from tests.artifact.import_.hub_server import COMMIT, hub
from tests.artifact.import_.test_adapter import write_adapter

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run ``ingot`` in a process with a hub, and with caches of its own."""

    def call(url: str, *arguments: str | Path, code: int = 0, **more: str) -> object:
        given = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        caches = {"HF_HOME": str(tmp_path / "hf"), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
        done = subprocess.run(
            [sys.executable, "-m", "ingot", *map(str, arguments)],
            env=given | caches | {"HF_ENDPOINT": url, "COLUMNS": "120"} | more,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, f"{done.returncode}: {done.stdout}\n{done.stderr}"
        return done

    return call  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:Org/Name", HubName("Org/Name")),
        ("hf:org-1/na.me_2@v1.0", HubName("org-1/na.me_2", "v1.0")),
        ("hf:Org/Name@refs/pr/3", HubName("Org/Name", "refs/pr/3")),
    ],
)
def test_names(text: str, expected: HubName) -> None:
    assert HubName.parse(text) == expected


@pytest.mark.parametrize("text", ["hf:", "hf:x", "hf:../x", "hf:a/b/c", "hf:a/b@", "hf:a/b@x y"])
def test_malformed_names(text: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a model"):
        HubName.parse(text)


def test_what_is_needed_is_fetched_once_and_pinned(
    run: Run, checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint("qwen3", max_shard_size="100KB")
    (folder / "LICENSE").write_text("Apache License")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    wanted = {path.name for path in folder.iterdir()}
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling_own.py").write_text("raise SystemExit")
    (folder / "original").mkdir()
    (folder / "original" / "model.safetensors").write_bytes(b"other")
    with hub(folder) as server:
        run(server.url, "import", "hf:Org/Tiny@v1", "--out", tmp_path / "one.ingot")
        assert server.fetched() == wanted
        server.requests.clear()
        run(server.url, "import", "hf:Org/Tiny@v1", "--out", tmp_path / "two.ingot")
        assert not server.fetched()
        done = run(server.url, "import", "hf:Org/Other", "--out", tmp_path / "x.ingot", code=6)
        assert "hf:Org/Other: does not exist on the hub" in done.stderr
    with open_ingot(tmp_path / "one.ingot") as one, open_ingot(tmp_path / "two.ingot") as two:
        assert one.digest == two.digest
        origin = one.manifest.provenance.origin
    assert origin is not None
    assert (origin.source, origin.revision) == ("hf:Org/Tiny", COMMIT)
    assert origin.license == "apache-2.0"


def test_the_cache_serves_without_a_hub(run: Run, checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("llama2")
    with hub(folder) as server:
        url = server.url
        run(url, "import", "hf:Org/Tiny", "--out", tmp_path / "one.ingot")
    run(url, "import", "hf:Org/Tiny", "--out", tmp_path / "two.ingot")  # nobody listens there
    run(url, "import", "hf:Org/Tiny", "--out", tmp_path / "three.ingot", HF_HUB_OFFLINE="1")
    done = run(url, "import", "hf:Org/Other", "--out", tmp_path / "four.ingot", code=6)
    assert "the hub cannot be reached" in done.stderr.splitlines()[-1]


def test_a_download_that_breaks_off_is_continued(
    run: Run, checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint("llama2")
    # The library keeps whole blocks of 10 MB: a file of several, which is no model.
    (folder / "model.safetensors").write_bytes(bytes(25 << 20))
    with hub(folder) as server:
        server.cut = 21 << 20
        run(server.url, "import", "hf:Org/Tiny", "--out", tmp_path / "out.ingot", code=6)
        ranges = [
            ranged for _, path, ranged in server.requests if path.endswith("model.safetensors")
        ]
    assert any(ranged and int(ranged[6:].split("-")[0]) >= 10 << 20 for ranged in ranges)


def test_an_adapter_may_be_a_name(run: Run, checkpoint: Maker, tmp_path: Path) -> None:
    folder, _ = checkpoint("llama2")
    adapter = tmp_path / "adapter"
    write_adapter(adapter, {"model.layers.1.self_attn.q_proj": (32, 32)})
    (adapter / "training_args.bin").write_bytes(b"pickle")
    out = tmp_path / "out.ingot"
    with hub(adapter) as server:
        run(server.url, "import", folder, "--out", out, "--adapter", "hf:Org/Tiny")
        assert server.fetched() == {"adapter_config.json", "adapter_model.safetensors"}
    import_model(folder, tmp_path / "same.ingot", adapter=adapter).close()
    with open_ingot(out) as ours, open_ingot(tmp_path / "same.ingot") as expected:
        assert ours.digest == expected.digest


def test_a_name_is_served_from_the_cache_of_imports(
    run: Run, checkpoint: Maker, tmp_path: Path
) -> None:
    folder, _ = checkpoint("qwen3")
    arguments = ("generate", "hf:Org/Tiny", "def", "--max-tokens", "4", "--json", "--seed", "1")
    with hub(folder) as server:
        first = run(server.url, *arguments)
        second = run(server.url, *arguments)
    assert "importing hf:Org/Tiny (qwen3) into" in first.stderr
    assert "importing" not in second.stderr
    assert json.loads(first.stdout)["token_ids"] == json.loads(second.stdout)["token_ids"]
    kept = list((tmp_path / "xdg" / "ingot" / "imports").glob("*.ingot"))
    assert len(kept) == 1
