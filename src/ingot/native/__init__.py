"""The C++ core: packed weights, kernels, and one call per engine step for the whole batch.

It imports nothing else of Ingot. ``INGOT_ISA`` names the kernels to use (``portable``,
``avx2``); without it the best that this CPU runs are taken.
"""

from ingot.native import _core

# Not `from ingot.native._core import …`: import-linter sees no compiled modules and would take
# that for an import of the whole package.
Matrix = _core.Matrix
Model = _core.Model
kernels = _core.kernels
pack = _core.pack
packed_size = _core.packed_size
uniform = _core.uniform

__all__ = ["Matrix", "Model", "kernels", "pack", "packed_size", "uniform"]
