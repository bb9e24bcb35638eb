"""A foreign model that was read and checked, ready to be sealed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.format.manifest import Dtype, Origin, Provenance
from ingot.artifact.freeze import check_target, freeze
from ingot.artifact.ingot import Ingot
from ingot.artifact.quantization.quantize import Scheme, round_model
from ingot.model import ModelConfig, Tokenizer
from ingot.model.generation_config import GenerationDefaults


@dataclass(frozen=True)
class OpenedModel:
    """A model of another program, its config understood and its tensors still in its files."""

    config: ModelConfig
    tensors: Mapping[str, NDArray[np.float32]]
    """float32 weights by the names and shapes of the config, each read when it is looked up."""
    tokenizer: Tokenizer
    generation: GenerationDefaults
    """How to sample where a request does not say."""
    origin: Origin
    confirm: Callable[[], None]
    """Refuses files that changed since they were opened."""

    def seal(
        self,
        out: Path,
        *,
        dtype: Dtype = "bfloat16",
        scheme: Scheme | None = None,
        overwrite: bool = False,
    ) -> Ingot:
        """Make the ingot ``out``, open.

        Args:
            out: The ingot to make; its parent must exist.
            dtype: Number format to store.
            scheme: What to store matrices as, rounded to nearest; None stores ``dtype``.
            overwrite: Replace an ingot that is at ``out``.

        Raises:
            ArtifactError: a weight is not finite, or a file changed meanwhile.
            UsageError: ``out`` exists already, its parent does not, or a pattern fits no matrix.
            ResourceError: the disk is full.
        """
        check_target(out, overwrite=overwrite)
        quantized = None if scheme is None else round_model(self.tensors, self.config, scheme)
        return freeze(
            self.tensors,
            self.config,
            self.tokenizer,
            out,
            provenance=Provenance(code_version=version("ingot"), origin=self.origin),
            dtype=dtype,
            quantized=quantized,
            generation=self.generation,
            overwrite=overwrite,
            confirm=self.confirm,
        )
