"""Ingots of strangers: every file changed, then sealed again with the right digests.

An input is a zip of the folder. It is verified, loaded, and asked for one answer and one chat.
"""

from __future__ import annotations

import functools
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np

from ingot.api import inference
from ingot.artifact import Provenance, Scheme, freeze, round_model
from ingot.inference import EngineConfig
from ingot.model import ModelConfig, Tokenizer
from tests.artifact.resealing import reseal, write_manifest
from tests.fuzz.mutate import Raw, dump, hostile_value, mutate_bytes, mutate_json
from tests.random_model import random_weights

_ENGINE = EngineConfig(num_blocks=16, max_context=64, threads=1)


@functools.cache
def examples() -> Sequence[bytes]:
    config = ModelConfig(300, 32, 48, 2, 4, 2, 8, 64)
    tokenizer = Tokenizer.train(["words and 123 numbers, in lines\n" * 9], 290)
    weights = random_weights(config)
    origin = Provenance(recipe={"model": {"layers": 2}}, seed=1, steps=3, flops=1e9)
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for number, kind in enumerate((None, "int8", "int4")):
            out = Path(folder) / f"{number}.ingot"
            quantized = round_model(weights, config, Scheme(kind)) if kind else None  # type: ignore[arg-type]
            freeze(weights, config, tokenizer, out, provenance=origin, quantized=quantized).close()
            made.append(_zipped(out))
    return made


def make(random: Random) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        ingot = _unzipped(random.choice(examples()), Path(folder) / "a.ingot")
        name = random.choice(sorted(path.name for path in ingot.iterdir()))
        path = ingot / name
        whole = path.read_bytes()
        if name == "model.safetensors":
            path.write_bytes(_weights(random, whole))
        elif random.random() < 0.3:
            path.write_bytes(mutate_bytes(random, whole))
            if name == "ingot.json":
                return _zipped(ingot)
        elif name == "tokenizer_config.json":
            changed = json.loads(whole) | {"chat_template": random.choice(_TEMPLATES)}
            path.write_bytes(dump(changed))
        elif name != "ingot.json":
            path.write_bytes(dump(mutate_json(random, json.loads(whole))))
        _seal(random, ingot, name)
        return _zipped(ingot)


_TEMPLATES = (
    "{{ '☃' * 16000000 }}",
    "{% for a in range(10**9) %}{{ a }}{% endfor %}",
    "{{ messages[0].content * 100000 }}",
    "{{ ''.__class__.__mro__ }}",
    "{% set x = 'a' * 500000000 %}{{ x }}",
    "{{ raise_exception('no') }}",
    "{% if %}",
    "<|endoftext|>{{ messages[0].role }}",
)


def _seal(random: Random, ingot: Path, changed: str) -> None:
    """Give the folder digests that fit, sometimes with a changed manifest."""
    if changed != "ingot.json":
        reseal(ingot)
        return
    content = json.loads((ingot / "ingot.json").read_bytes())
    if random.random() < 0.5:
        part = random.choice(sorted(content["provenance"]))
        content["provenance"][part] = hostile_value(random)
    else:
        content = mutate_json(random, content)
    if isinstance(content, dict) and not _has_raw(content):
        write_manifest(ingot, content)
    else:
        (ingot / "ingot.json").write_bytes(dump(content))


def _has_raw(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_raw, value.values()))
    return any(map(_has_raw, value)) if isinstance(value, list) else isinstance(value, Raw)


def _weights(random: Random, whole: bytes) -> bytes:
    """Return a file of tensors with other values, another header, or other bytes."""
    start = 8 + int.from_bytes(whole[:8], "little")
    kind = random.randrange(4)
    if kind == 0:
        return mutate_bytes(random, whole)
    if kind == 1:
        header = dump(mutate_json(random, json.loads(whole[8:start])))
        return len(header).to_bytes(8, "little") + header + whole[start:]
    data = bytearray(whole[start:])
    for _ in range(random.randrange(1, 200)):
        at = random.randrange(len(data) // 4) * 4
        value = random.choice((np.nan, np.inf, 3e38, 1e-40, -0.0, 1e30, 0.0))
        data[at : at + 4] = np.array([value], "<f4").tobytes()
    return whole[:start] + bytes(data)


def attempt(data: bytes) -> None:
    ingot = Path("a.ingot")
    shutil.rmtree(ingot, ignore_errors=True)
    _unzipped(data, ingot)
    inference.verify(ingot)
    with inference.load(ingot, engine=_ENGINE) as model:
        model.generate("some words", max_tokens=2, seed=1, logprobs=1)
        if b"chat_template" in (ingot / "tokenizer_config.json").read_bytes():
            model.chat([{"role": "user", "content": "hi"}], max_tokens=1)


def _zipped(folder: Path) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.writestr(path.name, path.read_bytes())
    return memory.getvalue()


def _unzipped(data: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)
    return folder
