"""Export: an ingot in the formats of other engines."""

from ingot.artifact.export.compressed_tensors import export_compressed, per_channel
from ingot.artifact.export.gguf.export import GgufType, export_gguf
from ingot.artifact.export.hugging_face import ExportDtype, export_hf
from ingot.artifact.export.modelfile import export_modelfile
from ingot.artifact.export.target import Exported, Progress

__all__ = [
    "ExportDtype",
    "Exported",
    "GgufType",
    "Progress",
    "export_compressed",
    "export_gguf",
    "export_hf",
    "export_modelfile",
    "per_channel",
]
