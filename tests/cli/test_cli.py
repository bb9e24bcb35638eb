"""Each verb as a user runs it: a real process, real files, a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from ingot.api.executors import native_core_is_built
from ingot.cli import app
from ingot.training.evaluation.scoring import open_model

# A shell starts its background jobs with Ctrl-C ignored, and children inherit that.
INTERRUPTIBLE = ("env", "--default-signal=INT")
Cli = Callable[..., subprocess.CompletedProcess[str]]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
VERBS = [verb for verb in COMMANDS if verb != "data"] + [
    f"data {verb}" for verb in COMMANDS["data"].commands
]


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr that says what was wrong."""
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr
    return line


def farthest_from_likeliest(ingot: Path, prompt: str, answer: list[int]) -> float:
    """How much less likely than the likeliest a token of an answer was at most, in nats."""
    model, tokenizer = open_model(ingot)
    ids = tokenizer.encode(prompt)
    with torch.no_grad():
        hidden = model(torch.tensor([ids + answer]))[0, len(ids) - 1 : -1]
        scores = model.logits(hidden).log_softmax(-1)
    chosen = scores.gather(-1, torch.tensor(answer)[:, None])[:, 0]
    return float((scores.amax(-1) - chosen).max())


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(here: Cli, verb: str) -> None:
    shown = here(*verb.split(), "--help").stdout
    assert f"ingot {verb}" in shown.split("Example:")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve"], "missing argument 'INGOT...'; for example: ingot serve demo.ingot --port 8000"),
        (["freeze", "x"], "missing option '--out'; for example: ingot freeze runs/"),
        (["serve", "x", "--port", "70000"], "for example: ingot serve demo.ingot --port 8000"),
        (["data", "build", "x"], "missing option '--out'; for example: ingot data build wiki/"),
        (["trian", "x"], "no such command 'trian'. Did you mean 'train'?; see ingot --help"),
        (["--nonsense"], "no such option: --nonsense; see ingot --help"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_answered_with_a_right_one(
    here: Cli, arguments: list[str], said: str
) -> None:
    """FAULTS E4."""
    assert said in error_of(here(*arguments, code=2))


@pytest.mark.parametrize("group", [[], ["data"]], ids=["ingot", "ingot data"])
def test_a_missing_verb_is_answered_with_the_help(here: Cli, group: list[str]) -> None:
    done = here(*group, code=2)
    assert "Usage" in done.stdout + done.stderr
    assert "error:" not in done.stderr


def test_the_version(here: Cli) -> None:
    """FAULTS E4."""
    assert re.fullmatch(r"ingot \d+\.\d+\S*\n", here("--version").stdout)


def test_help_lists_every_verb_and_is_quick_to_import(cli: Cli) -> None:
    shown = cli("--help").stdout
    assert all(verb.split()[0] in shown for verb in VERBS)
    script = "import sys, ingot.cli; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


def test_data_build_then_train_on_the_corpus(
    here: Cli, texts: Path, tmp_path: Path, small: list[str]
) -> None:
    corpus, run = tmp_path / "corpus", tmp_path / "run"
    built = json.loads(
        here("data", "build", texts, "--out", corpus, "--vocab-size", "512", "--json").stdout
    )
    assert built["vocab_size"] == 512
    assert built["validation"]["documents"] >= 1
    settings = [part for part in small if "vocab_size" not in part]
    settings = settings[1:] if settings[0] == settings[1] else settings
    done = here("train", corpus, "--out", run, "--json", "--set", "run.steps=3", *settings)
    result = json.loads(done.stdout)
    assert result["steps"] == 3
    assert not (run / "corpus").exists()


def test_train_writes_its_recipe_and_metrics(trained: Path) -> None:
    recipe = (trained / "recipe.toml").read_text()
    assert "hidden_size = 64" in recipe
    assert "steps = 30" in recipe
    assert (trained / "metrics.jsonl").stat().st_size > 0
    assert list((trained / "tensorboard").iterdir())


def test_one_dial_chooses_prints_and_writes_everything(
    here: Cli, texts: Path, tmp_path: Path
) -> None:
    done = here("train", texts, "--budget", "4s", "--out", tmp_path / "run", "--json")
    result = json.loads(done.stdout)
    assert result["seconds"] > 0
    assert "budget_seconds = 4.0" in (tmp_path / "run" / "recipe.toml").read_text()
    assert result["share_of_peak"] > 0
    for key in ("corpus.vocab_size", "model.hidden_size", "batch.context", "run.evaluations"):
        assert key in done.stderr
        assert f"{key.partition('.')[2]} = " in (tmp_path / "run" / "recipe.toml").read_text()


def test_a_recipe_file_and_settings_override_the_choice(
    here: Cli, texts: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[model]\nhidden_size = 40\n[batch]\nsequences = 3\n[run]\nsteps = 2\n")
    settings = ("--set", "batch.sequences=2", "--set", "corpus.vocab_size=512")
    settings += ("--set", "run.measure_peak=false", "--set", "batch.context=64")
    run = tmp_path / "run"
    here("train", texts, "--recipe", recipe, "--out", run, *settings)
    written = (run / "recipe.toml").read_text()
    assert "hidden_size = 40" in written
    assert "sequences = 2" in written


def test_interrupt_then_resume(here: Cli, texts: Path, tmp_path: Path, small: list[str]) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ingot", "train", str(texts), "--out", str(run)),
            *("--set", "run.steps=100000", *small),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = run / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (metrics.exists() and metrics.stat().st_size > 2000):
        assert time.monotonic() < deadline, "training did not start"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=300)
    assert process.returncode == 130
    assert f"ingot resume {run}" in shown.splitlines()[-1]
    recipe = run / "recipe.toml"
    steps = json.loads((next((run / "checkpoints").iterdir()) / "state.json").read_text())["step"]
    recipe.write_text(recipe.read_text().replace("steps = 100000", f"steps = {steps + 5}"))
    assert "run.steps: 100000 is now" in here("resume", run, code=4).stderr
    done = here("resume", run, "--accept-changes", "--json")
    assert json.loads(done.stdout)["steps"] == steps + 5


def test_eval_of_a_run_and_of_its_ingot(
    here: Cli, trained: Path, sealed: Path, texts: Path
) -> None:
    run = json.loads(here("eval", trained, "--json").stdout)
    assert run["bits_per_byte"] < 5
    text = texts / "00.py"
    ours = json.loads(here("eval", trained, text, "--json").stdout)
    frozen = json.loads(here("eval", sealed, text, "--json").stdout)
    assert frozen["bytes"] == text.stat().st_size
    assert frozen["loss"] == pytest.approx(ours["loss"], rel=0.01)
    assert "bits per byte" in here("eval", sealed, text).stdout


def test_eval_says_what_it_left_out(here: Cli, sealed: Path, tmp_path: Path) -> None:
    """FAULTS D: texts are never left out silently."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("some words\n" * 20)
    (tmp_path / "texts" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9)
    (tmp_path / "texts" / ".c.txt").write_text("hidden\n")
    done = here("eval", sealed, tmp_path / "texts", "--json")
    scored = json.loads(done.stdout)
    assert scored["bytes"] == 11 * 20
    assert len(scored["left_out"]) == 2
    for line in scored["left_out"]:
        assert line in " ".join(done.stderr.split())
    assert "left out: 1 hidden" in done.stderr


def test_eval_of_choices(here: Cli, sealed: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    question = {"question": "import", "choices": [" sys", " \u00e9\u00e9\u00e9"], "answer": 0}
    questions.write_text(json.dumps(question) + "\n")
    asked = ("eval", sealed, "--choices", questions)
    answered = json.loads(here(*asked, "--json").stdout)
    assert (answered["questions"], answered["chance"]) == (1, 0.5)
    assert answered["accuracy"] == 1.0
    assert "cannot be combined with texts" in error_of(here(*asked, questions, code=2))


def test_freeze_and_verify(here: Cli, trained: Path, sealed: Path, tmp_path: Path) -> None:
    again = json.loads(here("freeze", trained, "--out", tmp_path / "again.ingot", "--json").stdout)
    verified = json.loads(here("verify", sealed, "--json").stdout)
    assert again["digest"] == verified["digest"]
    assert "exists already" in error_of(
        here("freeze", trained, "--out", tmp_path / "again.ingot", code=2)
    )
    here("freeze", trained, "--out", tmp_path / "again.ingot", "--overwrite")


def test_verify_names_the_tensor_that_was_changed(here: Cli, sealed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.ingot"
    shutil.copytree(sealed, copy)
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)
    assert "lm_head.weight" in error_of(here("verify", copy, code=6))
    assert "lm_head.weight" in error_of(here("generate", copy, "x", code=6))


def test_generate_repeats_with_a_seed(cli: Cli, here: Cli, sealed: Path) -> None:
    options = ("--max-tokens", "12", "--seed", "3")
    plain = here("generate", sealed, "def ", *options).stdout
    answer = json.loads(here("generate", sealed, "def ", *options, "--json").stdout)
    assert plain == answer["text"] + "\n"
    assert answer["finish_reason"] in ("length", "stop")
    # In another process, and from its input.
    assert cli("generate", sealed, "-", *options, stdin="def ").stdout == plain


@pytest.mark.skipif(not native_core_is_built(), reason="installed without the native core")
def test_every_executor_answers_and_only_torch_needs_pytorch(here: Cli, sealed: Path) -> None:
    asked = ("generate", str(sealed), "def ", "--max-tokens", "8", "--temperature", "0")
    variants = {
        "native": ("--executor", "native"),
        "int8": ("--executor", "native", "--weights", "int8"),
        "torch": ("--executor", "torch"),
    }
    answers = {name: here(*asked, *options, "--json").stdout for name, options in variants.items()}
    for name, answer in answers.items():
        # Not one text: at a near tie, rounding decides.
        slack = 0.3 if name == "int8" else 0.1
        assert farthest_from_likeliest(sealed, "def ", json.loads(answer)["token_ids"]) < slack
    blocked = "import sys; sys.modules['torch'] = None; from ingot.cli import main; main()"
    for name in ("native", "int8"):
        done = subprocess.run(
            [sys.executable, "-c", blocked, *asked, *variants[name], "--json"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["token_ids"] == json.loads(answers[name])["token_ids"]
    assert "'fast' is not an executor" in error_of(here(*asked, "--executor", "fast", code=2))
    refused = error_of(here(*asked, "--weights", "fp8", code=2))
    assert "'fp8' is not a format of weights" in refused
    assert "use stored, bf16, int8 or int4" in refused
    refused = error_of(here(*asked, "--executor", "torch", "--weights", "int4", code=2))
    assert "'int4' needs the native executor" in refused


def test_serve_until_interrupted(sealed: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ingot", "serve", str(sealed), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    announced = ""
    while not announced.rstrip().endswith("}"):
        announced += process.stdout.readline()
    ready: dict[str, Any] = json.loads(announced)
    with urllib.request.urlopen(f"{ready['url']}/health", timeout=300) as response:
        assert response.status == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 0


@pytest.fixture
def folders(texts: Path, trained: Path, sealed: Path) -> dict[str, str]:
    """What stands for a path in the command lines below."""
    return {"TEXTS": str(texts), "TRAINED": str(trained), "SEALED": str(sealed)}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("train", "SEALED"), 3, "is an ingot, not text; fine-tune it with: ingot train"),
        (("train", "TRAINED"), 3, "is a run, not text; resume it with: ingot resume"),
        (("train", "absent"), 3, "absent"),
        (("train", "TEXTS", "--set", "model.hiden_size=3"), 4, "model.hidden_size"),
        (("train", "TEXTS", "--budget", "soon"), 2, "soon"),
        (("train", "TEXTS", "--budget", "0.0001s"), 2, "between 1s and"),
        (("train", "TEXTS", "--recipe", "absent.toml"), 4, "absent.toml"),
        (("data", "build", "absent", "--out", "x"), 3, "absent"),
        (("data", "build", "TEXTS", "--out", "x", "--vocab-size", "3"), 2, "--vocab-size"),
        (("resume", "absent"), 5, "is not a run"),
        (("eval", "absent", "TEXTS"), 6, "absent"),
        (("freeze", "absent", "--out", "x"), 5, "is not a run"),
        (("verify", "absent"), 6, "absent"),
        (("generate", "absent", "x"), 6, "absent"),
        (("serve", "absent", "--port", "0"), 6, "absent"),
        (("nonsense",), 2, "nonsense"),
        (("train",), 2, "TEXTS"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    here: Cli,
    folders: dict[str, str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [folders.get(part, part) for part in arguments]
    assert says.lower() in error_of(here(*given, code=code)).lower()


def test_a_mistake_ends_a_real_process_so_too(cli: Cli, tmp_path: Path) -> None:
    assert "absent" in error_of(cli("verify", "absent", cwd=tmp_path, code=6))


def test_a_prompt_longer_than_the_context_is_refused(here: Cli, sealed: Path) -> None:
    line = error_of(here("generate", sealed, "word " * 200, code=2))
    assert re.search(r"\b64\b", line)


def test_ctrl_c_of_a_verb_with_nothing_to_save_is_exit_code_130(sealed: Path) -> None:
    """FAULTS D4: it was 0, as if the work had been done."""
    with subprocess.Popen(
        [*INTERRUPTIBLE, sys.executable, "-m", "ingot", "generate", str(sealed), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(
            "x" * (1 << 20)
        )  # more than a pipe holds: it returns once they are read
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            time.sleep(0.05)  # Python overlooks a signal between two reads
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "error: stopped\n"


def test_a_terminal_that_cannot_show_a_character_is_no_internal_error(
    tmp_path: Path,
) -> None:
    """FAULTS D10."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "ingot", "verify", "snow☃man"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stderr.startswith("error: snow?man: is not an ingot (No such file or directory)")
    assert done.returncode == 6


def test_debug_shows_the_traceback(cli: Cli) -> None:
    done = cli("--debug", "verify", "absent", code=1)
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("verb", [["lesson", "--no-input"], ["train", "text.txt"]])
def test_what_needs_pytorch_says_so_where_it_is_not_installed(
    verb: list[str], tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("a text of some words\n" * 50)
    script = "import sys; sys.modules.update(torch=None, matplotlib=None, PIL=None)\n"
    script += "from ingot.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *verb],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "pip install 'ingot[train]'" in error_of(done)


@pytest.mark.parametrize("verb", ["serve", "verify", "generate"])
def test_a_run_given_as_an_ingot_is_answered_with_how_to_seal_it(
    here: Cli, trained: Path, verb: str
) -> None:
    """FAULTS E4."""
    arguments = ["hi"] if verb == "generate" else []
    error = error_of(here(verb, trained, *arguments, code=6))
    assert "is a run, not an ingot" in error
    assert error.endswith(f"seal it first: ingot freeze {trained} --out my.ingot")


@pytest.mark.parametrize("verb", ["resume", "freeze"])
def test_an_ingot_given_as_a_run_is_answered_with_how_to_train_it(
    here: Cli, sealed: Path, verb: str
) -> None:
    arguments = ["--out", "x"] if verb == "freeze" else []
    error = error_of(here(verb, sealed, *arguments, code=5))
    assert error.endswith(
        f"is an ingot, not a run; fine-tune it with: ingot train TEXTS --from {sealed}"
    )


def test_a_corpus_is_answered_with_how_to_train_on_it(here: Cli, trained: Path) -> None:
    corpus = trained / "corpus"
    assert f"ingot train {corpus}" in error_of(here("freeze", corpus, "--out", "x", code=5))
    assert f"ingot train {corpus}" in error_of(here("serve", corpus, code=6))


def test_what_is_not_there_is_answered_with_how_to_make_it(here: Cli) -> None:
    assert "make one with: ingot freeze" in error_of(here("verify", "nope.ingot", code=6))
    assert "make one with: ingot train TEXTS" in error_of(here("resume", "nope", code=5))


def test_a_public_address_is_answered_with_both_options(here: Cli, sealed: Path) -> None:
    """FAULTS E4."""
    error = error_of(here("serve", sealed, "--host", "0.0.0.0", "--port", "0", code=7))
    assert "add --api-keys keys.toml (made with: ingot new-key NAME >> keys.toml)" in error
    assert "or --allow-public" in error


def test_a_port_in_use_is_answered_with_another(here: Cli, sealed: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        errors = [
            error_of(here(*command, "--port", str(port), code=7))
            for command in (("serve", sealed), ("demo",))
        ]
    assert all(f"port {port} is in use; choose another: --port " in error for error in errors)


@pytest.mark.parametrize(
    ("row", "fix"),
    [
        ({"messages": []}, "ingot train {data} --from MODEL.ingot --task chat"),
        (
            {"chosen": "a", "rejected": "b"},
            "ingot train {data} --from MODEL.ingot --task preference",
        ),
        ({"body": "a"}, "--set corpus.json_field=body"),
    ],
    ids=["conversations", "preferences", "another field"],
)
def test_examples_given_as_text_are_answered_with_their_task(
    here: Cli, tmp_path: Path, row: dict[str, object], fix: str
) -> None:
    data = tmp_path / "talks.jsonl"
    data.write_text(json.dumps(row) + "\n")
    settings = ("--set", "run.steps=2", "--set", "run.measure_peak=false")
    error = error_of(here("train", data, "--out", tmp_path / "run", *settings, code=3))
    assert error.endswith(fix.format(data=data))


def test_what_cannot_work_is_refused_before_the_machine_is_measured(
    here: Cli, texts: Path, trained: Path, sealed: Path, tmp_path: Path
) -> None:
    """FAULTS E5."""
    out = tmp_path / "run"
    absent = here("train", "absent", "--budget", "10s", "--out", out, code=3)
    assert absent.stderr == "error: absent: does not exist; check the path\n"
    soon = here("train", texts, "--budget", "soon", "--out", out, code=2)
    assert soon.stderr.startswith("error: budget: 'soon' is not a time")
    taken = here("train", texts, "--budget", "10s", "--out", trained, code=5)
    assert taken.stderr.startswith(f"error: {trained}: holds a run already; resume it with: ingot")
    (empty := tmp_path / "empty").mkdir()
    nothing = here("train", empty, "--budget", "10s", "--out", out, code=3)
    assert nothing.stderr.startswith(f"error: {empty}: no text found")
    assert not out.exists()
    assert "add --overwrite" in error_of(here("freeze", trained, "--out", sealed, code=2))
