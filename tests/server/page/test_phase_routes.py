from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ingot.api import update_worker
from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key

TEXT = "def area(width, height):\n    return width * height\n"


@pytest.fixture(scope="module")
def training(ingot: Ingot, engine: EngineLoop) -> Iterator[httpx.Client]:
    """A client of a server that may train."""
    script = Path(update_worker.__file__)
    with (
        Server(ingot, engine, ServerConfig(port=0), trainer=script) as server,
        httpx.Client(base_url=server.url, timeout=300) as client,
    ):
        yield client


def test_updates_are_told_as_they_happen(training: httpx.Client, ingot: Ingot) -> None:
    body = {"model": "tiny", "text": TEXT, "updates": 2}
    with training.stream("POST", "/phases/updates", json=body) as answer:
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        records = [json.loads(line) for line in answer.iter_lines()]
    assert records[-1]["event"] == "ended", records[-1]
    assert [record["event"] for record in records] == [
        "started",
        *("predicted", "compared", "updated") * 2,
        "ended",
    ]
    started, predicted, compared, updated = records[:4]
    tokens = ingot.tokenizer.encode(TEXT)
    assert "".join(started["tokens"]).endswith(TEXT[-5:]) or len(started["tokens"]) == 49
    assert len(predicted["tokens"]) == len(started["tokens"]) - 1 <= len(tokens)
    assert started["ingot"] == ingot.digest
    assert started["weights"] == ingot.config.parameters
    assert started["weight_bytes"] == compared["gradient_bytes"] == 4 * started["weights"]
    assert updated["optimizer_bytes"] > started["weight_bytes"]
    assert 0 < updated["changed"] <= started["weights"]
    assert updated["digest"] != started["digest"]
    assert predicted["activation_bytes"] > 0 < compared["gradient_norm"]
    assert records[-1]["loss"] < predicted["loss"]
    picture = training.post("/phases/weights", json={"model": "tiny"}).json()
    for matrix in picture["matrices"]:
        cells = updated["cells"][matrix["name"]]
        assert len(cells) == len(matrix["cells"]) == matrix["rows"] * matrix["columns"]
    assert max(map(max, updated["cells"].values())) > 0


def test_the_served_weights_stay(training: httpx.Client) -> None:
    body = {"model": "tiny", "text": TEXT, "updates": 1}
    assert training.post("/phases/updates", json=body).status_code == 200
    assert training.post("/admin/verify", json={"model": "tiny"}).json()["verified"]


def test_a_picture_shows_the_mean_size_of_weights(http: httpx.Client, ingot: Ingot) -> None:
    picture = http.post("/phases/weights", json={"model": "tiny"}).json()
    weights = dict(ingot.float32())
    assert [each["name"] for each in picture["matrices"]] == [
        name for name, shape in ingot.config.tensor_shapes().items() if len(shape) == 2
    ]
    for each in picture["matrices"]:
        mean = sum(each["cells"]) / len(each["cells"])
        assert mean == pytest.approx(abs(weights[each["name"]]).mean(), rel=0.1)


def test_what_cannot_train_says_so(http: httpx.Client) -> None:
    body = {"model": "tiny", "text": TEXT}
    answer = http.post("/phases/updates", json=body)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "no_trainer"
    for wrong in ({"text": ""}, {"text": TEXT, "updates": 17}, {"text": TEXT, "more": 1}):
        assert http.post("/phases/updates", json={"model": "tiny"} | wrong).status_code == 400


def test_a_program_that_dies_is_reported(ingot: Ingot, engine: EngineLoop, tmp_path: Path) -> None:
    script = tmp_path / "dies.py"
    script.write_text("import sys\nsys.stdin.readline()\n")
    with Server(ingot, engine, ServerConfig(port=0), trainer=script) as server:
        for _ in range(2):  # its turn is released
            answer = httpx.post(
                f"{server.url}/phases/updates", json={"model": "tiny", "text": TEXT}, timeout=300
            )
            assert json.loads(answer.text)["event"] == "failed"


def test_keys_without_admin_may_not_train(ingot: Ingot, engine: EngineLoop, tmp_path: Path) -> None:
    key, entry = make_key("reader")
    keys = tmp_path / "keys.toml"
    keys.write_text(entry)
    keys.chmod(0o600)
    with Server(ingot, engine, ServerConfig(port=0, api_keys=keys)) as server:
        answer = httpx.post(
            f"{server.url}/phases/updates",
            json={"model": "tiny", "text": TEXT},
            headers={"authorization": f"Bearer {key}"},
            timeout=300,
        )
    assert answer.status_code == 403
