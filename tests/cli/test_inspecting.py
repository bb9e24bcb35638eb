"""``ingot inspect``, ``diff``, ``sign``, ``verify --key``; servers that ask for signatures."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import ingot
from ingot.api.ingots import sign
from ingot.artifact import signature_path
from ingot.errors import ArtifactError, UsageError
from ingot.server.access.api_keys import make_key
from tests.artifact.resealing import copy_writable, reseal

Cli = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Keys:
    private: Path
    public: Path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Made as docs/signing.md says."""
    folder = tmp_path_factory.mktemp("keys")
    for command in (
        "openssl ecparam -genkey -name prime256v1 -noout -out private.pem",
        "openssl pkey -in private.pem -pubout -out public.pem",
    ):
        subprocess.run(command.split(), cwd=folder, check=True)
    return Keys(folder / "private.pem", folder / "public.pem")


@pytest.fixture
def mine(sealed: Path, tmp_path: Path) -> Path:
    return copy_writable(sealed, tmp_path / "mine.ingot")


def test_sign_and_verify(here: Cli, mine: Path, keys: Keys) -> None:
    assert "mine.ingot.sig is missing" in here("verify", mine, "--key", keys.public, code=6).stderr
    said = here("sign", mine, "--key", keys.private, "--json").stdout
    assert json.loads(said) == {"ingot": str(mine), "signature": f"{mine}.sig"}
    said = here("verify", mine, "--key", keys.public).stdout
    assert f"{mine}: signed with the key of {keys.public}\n" in said
    assert json.loads(here("verify", mine, "--key", keys.public, "--json").stdout)["signed"]
    assert not json.loads(here("verify", mine, "--json").stdout)["signed"]
    said = here("sign", mine, "--key", keys.private, code=2).stderr
    assert said == f"error: {mine}.sig: exists already; name another file, or add --overwrite\n"


def test_a_signature_elsewhere(here: Cli, mine: Path, keys: Keys, tmp_path: Path) -> None:
    elsewhere = tmp_path / "of mine"
    here("sign", mine, "--key", keys.private, "--signature", elsewhere)
    here("verify", mine, "--key", keys.public, "--signature", elsewhere)
    said = here("verify", mine, "--signature", elsewhere, code=2).stderr
    assert said == "error: signature: needs a public key; add --key public.pem\n"


def test_a_server_refuses_what_is_not_signed(cli: Cli, mine: Path, keys: Keys) -> None:
    said = cli("serve", mine, "--port", "0", "--require-signature", keys.public, code=6).stderr
    assert "is not signed: mine.ingot.sig is missing" in said
    said = cli("serve", mine, "--port", "0", "--require-signature", keys.private, code=2).stderr
    assert "is a private key where the public one belongs" in said


def test_a_model_of_another_program_is_refused_unread(
    here: Cli, mine: Path, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (mine / "ingot.json").unlink()  # what is left is a folder as Hugging Face has them
    said = here("serve", mine, "--port", "0", "--require-signature", keys.public, code=6).stderr
    assert "is a model of another program, which is not signed; import it and sign" in said
    assert not (tmp_path / "cache").exists()
    with ingot.load(mine) as model:
        assert model.digest


def test_a_running_server_refuses_it_too(mine: Path, keys: Keys, tmp_path: Path) -> None:
    sign(mine, keys.private)
    other = copy_writable(mine, tmp_path / "other.ingot")
    key, entry = make_key("operator")
    (tmp_path / "keys.toml").write_text(f"{entry}admin = true\n")

    def put(url: str, path: Path) -> dict[str, object]:
        body = json.dumps({"path": str(path), "model": "other"}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        request = urllib.request.Request(f"{url}/admin/ingots", body, headers)
        with urllib.request.urlopen(request) as answer:
            return dict(json.load(answer))

    with (
        ingot.load(mine, signed_by=[keys.public]) as model,
        ingot.serve(
            model, port=0, signed_by=[keys.public], api_keys=tmp_path / "keys.toml"
        ) as server,
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            put(server.url, other)
        assert "is not signed: other.ingot.sig is missing" in refused.value.read().decode()
        signature_path(other).write_bytes(signature_path(mine).read_bytes())
        assert put(server.url, other)


def test_a_required_signature_is_not_weakened(mine: Path, keys: Keys) -> None:
    sign(mine, keys.private)
    with pytest.raises(UsageError, match="must be true where a signature is required"):
        ingot.load(mine, signed_by=[keys.public], verify=False)
    weights = mine / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtifactError, match="does not match its digest"):
        ingot.load(mine, signed_by=[keys.public])


def test_inspect(here: Cli, sealed: Path, tmp_path: Path) -> None:
    shown = here("inspect", sealed).stdout
    digest = ingot.verify(sealed).digest
    for expected in (digest, "feed-forward", "BF16", "num_hidden_layers", "bits_per_byte"):
        assert expected in shown
    assert "outliers" not in shown
    shown = here("inspect", sealed, "--weights").stdout
    head = re.search(r"layer +rms +least +1% +99% +most +outliers", shown)
    row = re.search(r"^attention +0 +(.*)$", shown, re.MULTILINE)
    assert head is not None
    assert row is not None
    least, low, high, most = map(float, row[1].split()[1:5])
    assert least <= low < high <= most
    found = json.loads(here("inspect", sealed, "--json").stdout)
    assert found["digest"] == digest
    assert "tensors" not in found
    card = tmp_path / "card.html"
    done = here("inspect", sealed, "--html", card, "--weights", "--json")
    found = json.loads(done.stdout)
    assert len(found["tensors"]) > len(found["layers"]) > 2
    assert "distribution" not in found["layers"][0]
    assert f"written to {card}" in done.stderr
    bom = tmp_path / "bom.json"
    assert f"written to {bom}" in here("inspect", sealed, "--bom", bom).stderr
    assert json.loads(bom.read_bytes())["specVersion"] == "1.7"
    assert "loss of the run" in card.read_text()  # the run's curve is in the provenance
    assert "is not an ingot" in here("inspect", tmp_path / "absent", code=6).stderr


def test_what_an_ingot_says_cannot_steer_the_terminal(
    here: Cli, mine: Path, sealed: Path, tmp_path: Path
) -> None:
    hostile = "\x1b[31m[bold]red\r\n\x07" + "x" * 900
    named = tmp_path / "[red]\x1b[2J.ingot"
    mine.rename(named)
    reseal(named, lambda content: content["provenance"].update(code_version=hostile))
    for arguments in (("inspect", named), ("diff", sealed, named)):
        shown = here(*arguments).stdout
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert "\\x1b[31m[bold]red" in shown
        assert "x" * 100 not in shown


def test_diff(here: Cli, sealed: Path, trained: Path, mine: Path, tmp_path: Path) -> None:
    assert "identical" in here("diff", sealed, mine).stdout
    small = tmp_path / "small.ingot"
    here("freeze", trained, "--out", small, "--quantize", "int8", "--no-calibrate")
    shown = here("diff", sealed, small).stdout
    for expected in (
        "method",
        "mlp.down_proj, 2 times",
        "int8 (128)",
        "of the same shape differ",
        "tokenizer  identical",
    ):
        assert expected in shown
    found = json.loads(here("diff", sealed, small, "--json").stdout)
    assert found["identical"] is False
    assert 0 < max(each["relative"] for each in found["tensors"]) < 0.02
