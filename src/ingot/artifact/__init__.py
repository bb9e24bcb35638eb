"""The ingot: a sealed, immutable, verifiable model; freezing, quantization, verification."""

from ingot.artifact.chat_template import chat_template_source, knows_conversations
from ingot.artifact.format.manifest import FileRecord, Manifest, Origin, Provenance, TensorRecord
from ingot.artifact.format.sealed_memory import SealedBuffer
from ingot.artifact.format.tensor_reader import DTYPES, LoadedTensors, StoredTensor, read_tensors
from ingot.artifact.format.tensor_writer import RawTensor, write_tensors
from ingot.artifact.freeze import check_target, freeze
from ingot.artifact.ingot import Ingot, LoadedWeights, open_ingot
from ingot.artifact.quantization.bfloat16 import round_to_bfloat16, widen_to_float32
from ingot.artifact.quantization.gptq import gptq
from ingot.artifact.quantization.packing import (
    TILE,
    PackedShape,
    QuantizedMatrix,
    WeightFormat,
    pack,
    round_to_nearest,
    unpack,
    unpack_codes,
)
from ingot.artifact.quantization.quantize import (
    QuantizedModel,
    Scheme,
    check_patterns,
    fuse,
    fused_matrices,
    packed_tensors,
    parse_scheme,
    round_model,
)
from ingot.artifact.signing.signature import (
    TrustedKeys,
    read_private_key,
    signature_path,
    write_signature,
)
from ingot.artifact.verify import verify

__all__ = [
    "DTYPES",
    "TILE",
    "FileRecord",
    "Ingot",
    "LoadedTensors",
    "LoadedWeights",
    "Manifest",
    "Origin",
    "PackedShape",
    "Provenance",
    "QuantizedMatrix",
    "QuantizedModel",
    "RawTensor",
    "Scheme",
    "SealedBuffer",
    "StoredTensor",
    "TensorRecord",
    "TrustedKeys",
    "WeightFormat",
    "chat_template_source",
    "check_patterns",
    "check_target",
    "freeze",
    "fuse",
    "fused_matrices",
    "gptq",
    "knows_conversations",
    "open_ingot",
    "pack",
    "packed_tensors",
    "parse_scheme",
    "read_private_key",
    "read_tensors",
    "round_model",
    "round_to_bfloat16",
    "round_to_nearest",
    "signature_path",
    "unpack",
    "unpack_codes",
    "verify",
    "widen_to_float32",
    "write_signature",
    "write_tensors",
]
