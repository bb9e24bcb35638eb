"""The wall: the ingot, a sealed, immutable and verifiable model."""

from ingot.artifact.bfloat16 import round_to_bfloat16, widen_to_float32
from ingot.artifact.freeze import freeze
from ingot.artifact.ingot import Ingot, open_ingot
from ingot.artifact.manifest import FileRecord, Manifest, Provenance, TensorRecord
from ingot.artifact.sealed_memory import SealedBuffer
from ingot.artifact.tensor_reader import DTYPES, StoredTensor, TensorFile, read_tensors
from ingot.artifact.tensor_writer import RawTensor, WrittenTensors, write_tensors
from ingot.artifact.verify import verify

__all__ = [
    "DTYPES",
    "FileRecord",
    "Ingot",
    "Manifest",
    "Provenance",
    "RawTensor",
    "SealedBuffer",
    "StoredTensor",
    "TensorFile",
    "TensorRecord",
    "WrittenTensors",
    "freeze",
    "open_ingot",
    "read_tensors",
    "round_to_bfloat16",
    "verify",
    "widen_to_float32",
    "write_tensors",
]
