"""Modules replaced by others with the same weights: the one way in which training alters a model.

A model is altered by ``set_submodule`` alone. The new module takes over parameters and submodules
under their names, so checkpoints, optimizer groups and the order of parameters stay as they are.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

_Module = TypeVar("_Module", bound=nn.Module)


def taking_over(new: _Module, old: nn.Module) -> _Module:
    """Return ``new`` with the parameters and submodules of ``old`` instead of its own.

    Args:
        new: A module of a class derived from that of ``old``; best made on the meta device.
        old: The module to replace; buffers of its own it has none.
    """
    for name, parameter in old.named_parameters(recurse=False):
        new.register_parameter(name, parameter)
    for name, child in old.named_children():
        new.set_submodule(name, child)
    return new.train(old.training)
