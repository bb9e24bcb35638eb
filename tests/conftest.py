"""The command line as a user runs it, and one small model that all tests may read."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

import ingot
from ingot.api.executors import native_core_is_built
from ingot.cli import main

collect_ignore = [] if native_core_is_built() else ["native", "inference/executors/test_native.py"]

# A busy machine may take any time for an example, and for the making of its input.
hypothesis.settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("untimed")

SOURCE = Path(ingot.__file__).parent
LONGEST = (
    "tests/test_readme.py",
    "tests/demo/test_run_demo.py",
    "tests/cli/test_cli.py",
    "tests/training/distributed/",
    "tests/cluster/",
    "tests/cli/",
    "tests/lesson/terminal/",
    "tests/training/config/",
    "tests/training/loop/test_trainer.py",
    "tests/browser/",
)
"""Files and folders of long tests, which several processes must begin with."""
Cli = Callable[..., subprocess.CompletedProcess[str]]


def pytest_report_header() -> str:
    """Say where tests are left out."""
    return "native core: " + ("built" if native_core_is_built() else "absent, its tests left out")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, so that none of them is left for one process at the end."""

    def rank(item: pytest.Item) -> int:
        starts = (item.nodeid.startswith(prefix) for prefix in LONGEST)
        return next((place for place, found in enumerate(starts) if found), len(LONGEST))

    items.sort(key=rank)


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run ``ingot`` in a process of its own and return what came of it."""

    def run(
        *arguments: str | Path,
        cwd: Path | None = None,
        code: int = 0,
        timeout: float = 300,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "ingot", *map(str, arguments)],
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=os.environ | {"COLUMNS": "120"},
        )
        assert done.returncode == code, f"{done.returncode}: {done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def here() -> Cli:
    """Run ``ingot`` in this process, where a process of its own would prove nothing more."""

    def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = ["ingot", *map(str, arguments)]
        # Over bytes, like real ones: JSON is written past the text.
        out, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(errors),
        ):
            patch.setattr(sys, "argv", command)
            patch.setenv("COLUMNS", "120")
            threshold = gc.get_threshold()
            try:
                with pytest.raises(SystemExit) as ended:
                    main()
            finally:
                gc.set_threshold(*threshold)  # a command changes both for all of its process
                gc.unfreeze()
        for stream in (out, errors):
            stream.seek(0)
        left = int(ended.value.code or 0)
        done = subprocess.CompletedProcess(command, left, out.read(), errors.read())
        assert done.returncode == code, f"{done.returncode}: {done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a few dozen real source files."""
    folder = tmp_path_factory.mktemp("texts") / "my_texts"
    folder.mkdir()
    for number, path in enumerate(sorted(SOURCE.rglob("*.py"))[:40]):
        (folder / f"{number:02}.py").write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="session")
def trained(here: Cli, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; read it, never write it."""
    run = tmp_path_factory.mktemp("trained") / "run"
    here("train", texts, "--out", run, "--set", "run.steps=30", *small_model())
    return run


@pytest.fixture(scope="session")
def sealed(here: Cli, trained: Path) -> Path:
    """The ingot of that run; read it, never write it."""
    path = trained.parent / "small.ingot"
    here("freeze", trained, "--out", path)
    return path


def small_model() -> list[str]:
    """Settings of a model that trains in a second or two."""
    settings = [
        "corpus.vocab_size=512",
        "model.hidden_size=64",
        "model.intermediate_size=128",
        "model.num_hidden_layers=2",
        "model.num_attention_heads=2",
        "model.num_key_value_heads=1",
        "model.head_dim=32",
        "batch.context=64",
        "batch.sequences=4",
        "run.evaluations=1",
        "run.measure_peak=false",
        "run.samples=1",
    ]
    return [part for setting in settings for part in ("--set", setting)]


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Arguments of ``ingot train`` for a model that trains in a second or two."""
    return small_model()


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in a fresh interpreter and return how it ended."""

    def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    return run


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Wait until something holds; fail where it does not within five minutes."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 300
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    return wait
