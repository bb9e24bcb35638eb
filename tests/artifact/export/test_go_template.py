"""Go itself renders the template of a Modelfile; it needs ``go`` on the path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ingot.artifact.export.chat_format import chat_format
from ingot.model.chat import DEFAULT_TEMPLATE
from tests.artifact.export.test_chat_format import CHATML, LLAMA3, SMOLLM2

CONVERSATIONS = [
    [("user", "Hi")],
    [("system", "Be\n brief"), ("user", "Hi ")],
    [("user", "a\n"), ("assistant", "b {{ .x }}"), ("user", " c")],
    [("system", "s"), ("user", "u"), ("assistant", "")],
]


@pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")
@pytest.mark.parametrize(
    "template", [DEFAULT_TEMPLATE, CHATML, SMOLLM2, LLAMA3], ids=["own", "chatml", "system", "bos"]
)
def test_go_renders_it(template: str, tmp_path: Path) -> None:
    form = chat_format(template, {"bos_token": "<s>", "eos_token": "</s>"})
    chats = [[{"role": r, "content": c} for r, c in chat] for chat in CONVERSATIONS]
    told = [{"role": "system", "content": form.system}] if form.system else []
    given = [chat if chat[0]["role"] == "system" else [*told, *chat] for chat in chats]
    done = subprocess.run(
        ["go", "run", Path(__file__).with_name("render.go")],
        input=json.dumps({"Template": form.go_template(), "Conversations": given}),
        env=os.environ | {"GOCACHE": str(tmp_path / "cache"), "GO111MODULE": "off"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [form.render(chat) for chat in chats]
