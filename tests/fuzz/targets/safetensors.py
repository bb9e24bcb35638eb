"""Files of tensors: header, offsets and data, read by ``read_tensors``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np

from ingot.artifact import read_tensors
from ingot.artifact.format.tensor_writer import stream_tensors
from tests.fuzz.mutate import dump, mutate_bytes, mutate_json


def examples() -> Sequence[bytes]:
    file = BytesIO()
    tensors = {
        "a": np.arange(12, dtype=np.float32).reshape(3, 4),
        "b": np.arange(5, dtype=np.uint8),
        "empty": np.zeros((0, 3), dtype=np.int64),
    }
    stream_tensors(file, tensors, {"format": "pt"}, where="example")
    return [file.getvalue()]


def make(random: Random) -> bytes:
    (whole,) = examples()
    length = int.from_bytes(whole[:8], "little")
    header, data = whole[8 : 8 + length], whole[8 + length :]
    kind = random.randrange(3)
    if kind == 0:
        return mutate_bytes(random, whole)
    if kind == 1:
        header = mutate_bytes(random, header)
    else:
        header = dump(mutate_json(random, json.loads(header)))
    return len(header).to_bytes(8, "little") + header + data


def attempt(data: bytes) -> None:
    path = Path("tensors.safetensors")
    path.write_bytes(data)
    with read_tensors(path) as tensors:
        for tensor in tensors.values():
            tensor.array().sum()
