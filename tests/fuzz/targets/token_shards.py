"""Corpora of strangers: a shard, the manifest or the tokenizer changed, and sealed again.

An input is a byte that chooses the file, then its bytes. The corpus is opened, hashed and sampled.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from ingot.corpus import CorpusConfig, CorpusManifest, Sampler, build_corpus, open_corpus
from ingot.errors import CorpusError
from tests.fuzz.mutate import dump, mutate_bytes, mutate_json

_HEADER = struct.Struct("<8sHHIQ32s")
_NAMES = ("train-00000.tokens", "validation-00000.tokens", "corpus.json", "tokenizer.json")


@functools.cache
def _corpus() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        text.write_text("".join(f"line {number} of some text\n" for number in range(200)))
        built = build_corpus([text], Path(folder) / "corpus", CorpusConfig(vocab_size=300))
        return {name: (built.path / name).read_bytes() for name in _NAMES}


@functools.cache
def examples() -> Sequence[bytes]:
    return [bytes([number]) + _corpus()[name] for number, name in enumerate(_NAMES)]


def make(random: Random) -> bytes:
    number = random.randrange(len(_NAMES))
    data = _corpus()[_NAMES[number]]
    if _NAMES[number].endswith(".json") and random.random() < 0.8:
        changed = dump(mutate_json(random, json.loads(data)))
    else:
        changed = mutate_bytes(random, data)
        if _NAMES[number].endswith(".tokens") and random.random() < 0.8:
            changed = _resealed(changed)
    return bytes([number]) + changed


def _resealed(shard: bytes) -> bytes:
    """Write the header's checksums again, so that its other fields and the ids are believed."""
    if len(shard) < 64:
        return shard
    *fields, _ = _HEADER.unpack_from(shard)
    header = _HEADER.pack(*fields, hashlib.sha256(shard[64:]).digest())
    return header + hashlib.sha256(header).digest()[:8] + shard[64:]


def attempt(data: bytes) -> None:
    folder = Path("corpus")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    files = _corpus() | {_NAMES[data[0] % len(_NAMES)]: data[1:]}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "corpus.json").write_bytes(_sealed(files))
    corpus = open_corpus(folder, verify=True)
    corpus.manifest.left_out()
    corpus.manifest.summary()
    Sampler(corpus.train, context=16, batch=2, seed=0).next_batch()
    corpus.validation.read(0, len(corpus.validation))


def _sealed(files: dict[str, bytes]) -> bytes:
    """Return the manifest with the digests of the files as they are now."""
    try:
        told: dict[str, Any] = json.loads(files["corpus.json"])
        told["tokenizer_sha256"] = hashlib.sha256(files["tokenizer.json"]).hexdigest()
        for side in ("train", "validation"):
            shard = files[f"{side}-00000.tokens"]
            record = told[side]["shards"][0]
            if len(shard) >= 64:
                *_, count, digest = _HEADER.unpack_from(shard)
                record["sha256"] = digest.hex()
                if 0 < count < 1 << 40:
                    record["tokens"] = told[side]["tokens"] = count
        manifest = CorpusManifest.model_construct(**_parsed(told))
        told["digest"] = manifest.content_digest()
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RecursionError,
        CorpusError,
    ):
        return files["corpus.json"]
    return json.dumps(told).encode()


def _parsed(told: dict[str, Any]) -> dict[str, Any]:
    valid = CorpusManifest.model_validate_json(json.dumps(told))
    return {name: getattr(valid, name) for name in CorpusManifest.model_fields}
