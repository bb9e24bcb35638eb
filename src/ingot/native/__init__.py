"""The C++ core: packed weights, kernels, and one call per engine step for the whole batch.

It imports nothing else of Ingot. ``INGOT_ISA`` names the kernels to use (``portable``,
``avx2``); without it the best that this CPU runs are taken.
"""

from ingot.native._core import Matrix, Model, kernels, pack, packed_size, uniform

__all__ = ["Matrix", "Model", "kernels", "pack", "packed_size", "uniform"]
