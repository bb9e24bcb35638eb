from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from ingot.artifact import (
    Provenance,
    freeze,
    open_ingot,
    read_tensors,
    round_to_bfloat16,
    verify,
    widen_to_float32,
)
from ingot.errors import ArtifactError, UsageError
from ingot.model import ModelConfig, Tokenizer

Weights = dict[str, np.ndarray]
Freeze = Callable[..., Any]


@pytest.fixture
def freeze_to(
    weights: Weights, config: ModelConfig, tokenizer: Tokenizer, provenance: Provenance
) -> Freeze:
    """Freeze the tiny model to a path, with changes."""

    def run(out: Path, **changes: Any) -> Any:
        given = {"tensors": weights, "config": config, "tokenizer": tokenizer, **changes}
        given.setdefault("provenance", provenance)
        return freeze(out=out, **given)

    return run


def test_writes_the_files_of_the_format_and_nothing_else(pristine: Path) -> None:
    assert {path.name for path in pristine.iterdir()} == {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
        "ingot.json",
    }
    assert list(pristine.parent.iterdir()) == [pristine]
    for path in pristine.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o444
    # Not needed by transformers 5, asked for by 4 and by others.
    assert read_tensors(pristine / "model.safetensors").metadata == {"format": "pt"}
    generation = json.loads((pristine / "generation_config.json").read_bytes())
    config = json.loads((pristine / "config.json").read_bytes())
    assert generation["eos_token_id"] == config["eos_token_id"]


def test_holds_the_rounded_weights(pristine: Path, weights: Weights) -> None:
    with open_ingot(pristine) as ingot:
        assert list(ingot.tensors) == list(weights)
        for name, tensor in ingot.tensors.items():
            assert tensor.dtype == "BF16"
            np.testing.assert_array_equal(tensor.array(), round_to_bfloat16(weights[name]))


def test_float32_is_exact(freeze_to: Freeze, tmp_path: Path, weights: Weights) -> None:
    with freeze_to(tmp_path / "full.ingot", dtype="float32") as ingot:
        assert ingot.manifest.dtype == "float32"
        for name, tensor in ingot.tensors.items():
            np.testing.assert_array_equal(tensor.array(), weights[name])
    assert (
        json.loads((tmp_path / "full.ingot/config.json").read_bytes())["torch_dtype"] == "float32"
    )


def test_shards_hold_the_same_tensors(
    pristine: Path, pristine_sharded: Path, weights: Weights
) -> None:
    index = json.loads((pristine_sharded / "model.safetensors.index.json").read_bytes())
    shards = sorted(pristine_sharded.glob("model-*.safetensors"))
    assert len(shards) > 2
    assert sorted(set(index["weight_map"].values())) == [path.name for path in shards]
    assert index["metadata"]["total_size"] == sum(2 * array.size for array in weights.values())
    for path in shards:
        names = safetensors.safe_open(path, framework="numpy").keys()
        assert all(index["weight_map"][name] == path.name for name in names)
        assert path.stat().st_size <= 25_000  # the limit, and the header
    with open_ingot(pristine) as whole, open_ingot(pristine_sharded) as sharded:
        assert whole.manifest.tensors == sharded.manifest.tensors
        for name, tensor in sharded.tensors.items():
            assert bytes(tensor.data) == bytes(whole.tensors[name].data)


def test_same_inputs_same_digest_in_another_process(
    pristine: Path, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from ingot.artifact import freeze, open_ingot, widen_to_float32\n"
        "old = open_ingot(Path(sys.argv[1]))\n"
        "weights = {n: widen_to_float32(t.array()) for n, t in reversed(old.tensors.items())}\n"
        "new = freeze(weights, old.config, old.tokenizer, Path(sys.argv[2]),"
        " provenance=old.manifest.provenance)\n"
        "assert 'torch' not in sys.modules\nprint(new.digest)\n"
    )
    ended = run_python(script, pristine, tmp_path / "again.ingot")
    assert ended.stdout.strip() == verify(pristine).digest, ended.stderr
    for path in pristine.iterdir():
        assert (tmp_path / "again.ingot" / path.name).read_bytes() == path.read_bytes()


def test_no_byte_is_hashed_twice_for_the_same_digest(
    freeze_to: Freeze, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Freezing hashes what it writes: once for the tensor's digest, once for the file's."""
    hashed = 0
    sha256 = hashlib.sha256

    class Counting:
        def __init__(self, data: Any = b"") -> None:
            self._digest = sha256()
            self.update(data)

        def update(self, data: Any) -> None:
            nonlocal hashed
            hashed += memoryview(data).nbytes
            self._digest.update(data)

        def hexdigest(self) -> str:
            return self._digest.hexdigest()

    monkeypatch.setattr(hashlib, "sha256", Counting)
    with freeze_to(tmp_path / "a.ingot") as ingot:
        files = sum(record.bytes for record in ingot.manifest.files.values())
        manifest = len(
            json.dumps(
                json.loads((tmp_path / "a.ingot" / "ingot.json").read_bytes()),
                sort_keys=True,
                separators=(",", ":"),
            )
        ) - len(f',"digest":"{ingot.digest}"')
        assert hashed == files + ingot.weight_bytes + manifest


def test_what_freeze_returns_is_checked_when_it_is_used(freeze_to: Freeze, tmp_path: Path) -> None:
    with freeze_to(tmp_path / "a.ingot") as ingot:
        path = tmp_path / "a.ingot" / "model.safetensors"
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)[0]
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last ^ 1]))
        with pytest.raises(ArtifactError, match=f"{path}: tensor .* does not match its digest"):
            _ = ingot.tensors


def test_any_other_input_gives_another_digest(
    freeze_to: Freeze, pristine: Path, tmp_path: Path, weights: Weights, provenance: Provenance
) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    nudged = weights[name].copy()
    nudged[3, 4] += 0.5
    digests = [
        verify(pristine).digest,
        freeze_to(tmp_path / "a", tensors={**weights, name: nudged}).digest,
        freeze_to(tmp_path / "b", provenance=provenance.model_copy(update={"seed": 8})).digest,
        freeze_to(tmp_path / "c", dtype="float32").digest,
    ]
    assert len(set(digests)) == 4


def test_large_tensors_are_converted_in_pieces(
    freeze_to: Freeze, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    config = ModelConfig(
        vocab_size=40_000,
        hidden_size=32,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=2,
        max_position_embeddings=8,
    )
    rng = np.random.default_rng(1)
    shapes = config.tensor_shapes().items()
    # Fortran order, so that the bytes in memory are not those to be stored.
    weights = {n: np.asfortranarray(rng.normal(size=s).astype(np.float32)) for n, s in shapes}
    with freeze_to(tmp_path / "a", tensors=weights, config=config) as ingot:
        for name, tensor in ingot.tensors.items():
            wide = widen_to_float32(tensor.array())
            np.testing.assert_allclose(wide, weights[name], rtol=2**-8)


NAME = "model.layers.0.self_attn.k_proj.weight"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda a: np.where(a == a.flat[9], np.nan, a).astype(np.float32), "not finite"),
        (lambda a: np.where(a == a.flat[9], -np.inf, a).astype(np.float32), "not finite"),
        (lambda a: np.where(a == a.flat[9], np.float32(3.4e38), a), "too large for bfloat16"),
        (lambda a: a[:-1], "has shape"),
        (lambda a: a.T, "has shape"),
        (lambda a: a.astype(np.float64), "has dtype float64"),
    ],
)
def test_refuses_weights_by_name(
    freeze_to: Freeze, tmp_path: Path, weights: Weights, change: Callable[..., Any], what: str
) -> None:
    with pytest.raises(ArtifactError, match=f"^{NAME}: .*{what}"):
        freeze_to(tmp_path / "a", tensors={**weights, NAME: change(weights[NAME])})
    assert list(tmp_path.iterdir()) == []


def test_refuses_missing_and_extra_tensors(
    freeze_to: Freeze, tmp_path: Path, weights: Weights
) -> None:
    with pytest.raises(ArtifactError, match=f"^{NAME}: is missing"):
        freeze_to(tmp_path / "a", tensors={n: w for n, w in weights.items() if n != NAME})
    with pytest.raises(ArtifactError, match=r"^lm_head\.weight: is not a tensor"):
        freeze_to(tmp_path / "a", tensors={**weights, "lm_head.weight": weights[NAME]})
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_tokenizer_with_too_many_tokens(freeze_to: Freeze, tmp_path: Path) -> None:
    large = Tokenizer.train([" ".join(f"word{i}ing" for i in range(500))], 400)
    assert large.vocab_size > 320
    with pytest.raises(ArtifactError, match="tokens, the model only 320"):
        freeze_to(tmp_path / "a", tokenizer=large)


def test_overwrites_only_when_asked_and_only_ingots(
    freeze_to: Freeze, tmp_path: Path, provenance: Provenance
) -> None:
    out = tmp_path / "a.ingot"
    first = freeze_to(out)
    other = provenance.model_copy(update={"seed": 8})
    with pytest.raises(UsageError, match=r"a\.ingot: exists already"):
        freeze_to(out, provenance=other)
    assert verify(out).digest == first.digest
    second = freeze_to(out, provenance=other, overwrite=True)
    assert verify(out).digest == second.digest != first.digest
    assert list(tmp_path.iterdir()) == [out]
    # The one that was replaced is still whole for those who have it open.
    np.testing.assert_array_equal(first.tensors[NAME].array(), second.tensors[NAME].array())

    folder, file, link = tmp_path / "folder", tmp_path / "file", tmp_path / "link"
    folder.mkdir()
    (folder / "precious.txt").write_text("keep")
    file.write_text("keep")
    link.symlink_to(out)
    for target in (folder, file, link):
        with pytest.raises(UsageError, match="is not an ingot"):
            freeze_to(target, overwrite=True)
    assert (folder / "precious.txt").read_text() == file.read_text() == "keep"
    with pytest.raises(UsageError, match="does not exist"):
        freeze_to(tmp_path / "absent" / "a.ingot")


def test_an_ingot_with_a_file_of_the_users_is_not_overwritten(
    freeze_to: Freeze, tmp_path: Path
) -> None:
    out = tmp_path / "a.ingot"
    freeze_to(out).close()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds 'notes\.txt'"):
        freeze_to(out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"


def test_a_failed_overwrite_leaves_the_old_ingot(
    freeze_to: Freeze, tmp_path: Path, weights: Weights
) -> None:
    out = tmp_path / "a.ingot"
    old = freeze_to(out).digest
    broken = {**weights, "model.norm.weight": np.full(32, np.nan, np.float32)}
    with pytest.raises(ArtifactError, match="not finite"):
        freeze_to(out, tensors=broken, overwrite=True)
    assert verify(out).digest == old
    assert list(tmp_path.iterdir()) == [out]


OVERWRITE = """
import itertools, sys
from pathlib import Path
from ingot.artifact import Provenance, freeze, open_ingot, widen_to_float32
source = open_ingot(Path(sys.argv[1]))
weights = {n: widen_to_float32(t.array()) for n, t in source.tensors.items()}
for seed in itertools.count():
    freeze(weights, source.config, source.tokenizer, Path(sys.argv[2]), overwrite=seed > 0,
           provenance=Provenance(seed=seed)).close()
    print(seed, flush=True)
"""


def test_killed_at_any_moment_a_whole_ingot_is_left(pristine: Path, tmp_path: Path) -> None:
    for turn in range(4):
        out = tmp_path / f"{turn}.ingot"
        command = [sys.executable, "-c", OVERWRITE, pristine, out]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "0\n"
            time.sleep(random.random() / 20)
            process.kill()
            finished = [0, *map(int, process.stdout.read().split())]
        # The last one reported, or the next if it was killed before its report.
        assert verify(out).provenance.seed in {finished[-1], finished[-1] + 1}


FILL = """
import sys
from pathlib import Path
from ingot.artifact import freeze, open_ingot, verify, widen_to_float32
from ingot.errors import ResourceError
source, disk = open_ingot(Path(sys.argv[1])), Path(sys.argv[2])
weights = {n: widen_to_float32(t.array()) for n, t in source.tensors.items()}
def put(dtype, overwrite):
    return freeze(weights, source.config, source.tokenizer, disk / "a.ingot", dtype=dtype,
                  provenance=source.manifest.provenance, overwrite=overwrite)
put("bfloat16", False)
try:
    put("float32", True)
except ResourceError as error:
    print(error)
assert verify(disk / "a.ingot").digest == source.digest
assert [path.name for path in disk.iterdir()] == ["a.ingot"]
"""


def test_a_full_disk_is_named_and_loses_nothing(pristine: Path, tmp_path: Path) -> None:
    """A real file system of 160 kB, in a mount namespace of our own; the second freeze fills it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=160k none '{disk}'"
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*namespace, mount], check=False).returncode
    ):
        pytest.skip("this machine allows no mount namespaces")
    ended = subprocess.run(
        [*namespace, f'{mount} && exec "$@"', "sh", sys.executable, "-c", FILL, pristine, disk],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "a.ingot" in ended.stdout
    assert "the disk is full" in ended.stdout
