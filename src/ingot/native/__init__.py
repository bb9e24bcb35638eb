"""The C++ core: packed weights, kernels, an engine's step for the whole batch, and tokenizing.

It imports nothing else of Ingot. ``INGOT_ISA`` names the kernels to use (``portable``,
``avx2``, ``avx512``, ``avx512bf16``, ``neon``); without it the best that this CPU runs are taken.
"""

from ingot.native import _core
from ingot.native.records import (
    CacheShape,
    LayerShape,
    LayerWeights,
    ModelShape,
    ModelWeights,
    Norm,
    RopeTable,
)

# Not `from ingot.native._core import …`: import-linter sees no compiled modules and would take
# that for an import of the whole package.
BpeEncoder = _core.BpeEncoder
Matrix = _core.Matrix
Model = _core.Model
SampleError = _core.SampleError
SampledToken = _core.SampledToken
Failure = _core.Failure
StepOutput = _core.StepOutput
class_borders = _core.class_borders
kernels = _core.kernels
measure_attend = _core.measure_attend
measure_multiply = _core.measure_multiply
measure_peak = _core.measure_peak
measure_read = _core.measure_read
packed_sizes = _core.packed_sizes
split_words = _core.split_words
uniform = _core.uniform
WordCounts = _core.WordCounts

__all__ = [
    "BpeEncoder",
    "CacheShape",
    "Failure",
    "LayerShape",
    "LayerWeights",
    "Matrix",
    "Model",
    "ModelShape",
    "ModelWeights",
    "Norm",
    "RopeTable",
    "SampleError",
    "SampledToken",
    "StepOutput",
    "WordCounts",
    "class_borders",
    "kernels",
    "measure_attend",
    "measure_multiply",
    "measure_peak",
    "measure_read",
    "packed_sizes",
    "split_words",
    "uniform",
]
