"""Every command of the README, in order, in one folder; with shorter budgets and a free port."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ingot.model import Tokenizer
from tests.artifact.import_.tiny import make_checkpoint

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", README, re.DOTALL)
BUDGET = re.compile(r'(--budget |budget=")\d+s')


@pytest.mark.timeout(1800)
def test_every_command_does_what_it_says(texts: Path, tmp_path: Path) -> None:
    """FAULTS E11: whatever else the machine does."""
    shutil.copytree(texts, tmp_path / "my_texts")
    tokenizer = Tokenizer.train(["Once upon a time, in lines\n" * 9], 300)
    make_checkpoint("llama3", tmp_path / "my-model", tokenizer)
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    server: subprocess.Popen[bytes] | None = None
    ran = []
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    try:
        for language, block in BLOCKS:
            code = block.replace("8000", port)
            if code.startswith("make"):
                continue  # the demo has its own test, and this is `make test`
            if "ingot serve" in code:
                server = subprocess.Popen(code.split(), cwd=tmp_path, env=environment)
                _wait_for(f"http://127.0.0.1:{port}/health")
                ran.append(code)
                continue
            done = _run(language, code, tmp_path, environment)
            assert done.returncode == 0, f"{code}\n{done.stdout.decode()}\n{done.stderr.decode()}"
            ran.append(code)
            if "curl" in code:
                assert done.stdout.rstrip().endswith(b"data: [DONE]")
    finally:
        if server:
            server.terminate()
            server.wait(300)
    assert len(ran) == 9


def _run(
    language: str, code: str, folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """Run a block with a short budget."""
    command = [sys.executable, "-c"] if language == "python" else ["sh", "-ec"]
    return subprocess.run(
        [*command, BUDGET.sub(r"\g<1>1s", code)],
        cwd=folder,
        env=environment,
        timeout=600,
        check=False,
        capture_output=True,
    )


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 300
    while True:
        try:
            urllib.request.urlopen(url, timeout=300).close()
            return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.2)


def test_every_file_it_links_is_there() -> None:
    root = Path(__file__).parent.parent
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (root / link).exists(), link
