"""Config and weights of the model in a GGUF file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.format import gguf_names
from ingot.artifact.import_.gguf.architectures import ARCHITECTURES, Folds, Sizes
from ingot.artifact.import_.gguf.container import GgufFile
from ingot.artifact.import_.gguf.metadata import Metadata
from ingot.artifact.import_.gguf.rope import ROPE_TENSORS, read_rope
from ingot.artifact.import_.tensor_parts import LazyTensors, TensorPart, check_parts
from ingot.errors import ArtifactError, RecipeError
from ingot.model.config import ModelConfig

_TABLE, _HEAD, _POSITIONS = "token_embd.weight", "output.weight", "position_embd.weight"
_OUTSIDE = {
    f"{ours}.{kind}": f"{theirs}.{kind}"
    for ours, theirs in gguf_names.OUTSIDE.items()
    for kind in ("weight", "bias")
}
_IN_BLOCK = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_ROTATED = re.compile(r"blk\.\d+\.attn_(q|k|qkv)\.(?:weight|bias)")
_FUSED_QKV, _FUSED_UP = "attn_qkv", "ffn_up"
_NO_EFFECT = ("tensor_data_layout",)
_PLAIN: Mapping[str, int | bool] = {
    "expert_count": 0,
    "expert_used_count": 0,
    "attention.causal": True,
    "pooling_type": 0,
}
"""Keys that are understood where they have this value alone."""


class GgufModel:
    """The model in an open GGUF file: its config, and its weights by Ingot's names.

    Args:
        file: The file; it must stay open while weights are read.
        metadata: Its metadata; what was understood is marked in it.

    Raises:
        ArtifactError: another architecture, a key or a tensor that is not understood, or
            sizes that do not go together.
    """

    def __init__(self, file: GgufFile, metadata: Metadata) -> None:
        self._file, self._metadata = file, metadata
        kind = metadata.text("general.type", "model")
        if kind != "model":
            raise metadata.wrong("general.type", f"is {kind[:40]!r}: the file holds no model")
        self._prefix = metadata.text("general.architecture")
        if self._prefix not in ARCHITECTURES:
            raise ArtifactError(
                f"architecture {self._prefix[:40]!r} is not supported",
                where=file.path,
                fix=f"use one of {', '.join(ARCHITECTURES)}",
            )
        self._architecture = ARCHITECTURES[self._prefix]
        self._check_whole()
        sizes = self._read_sizes()
        folds = self._architecture.read_folds(metadata, sizes)
        try:
            self.config = self._read_config(sizes)
            """Sizes and variants."""
        except RecipeError as error:
            raise ArtifactError(error.what, where=f"{file.path} ({error.where})") from error
        metadata.check_all_understood([f"{self._prefix}."])
        parts = self._parts(folds)
        shapes = {
            name: record.shape for name, record in file.tensors.items() if name not in ROPE_TENSORS
        }
        check_parts(parts, self.config.tensor_shapes(), shapes, file.path)
        self.tensors = LazyTensors(parts, self._read)
        """Every tensor of ``config.tensor_shapes()``, float32, read when it is asked for."""

    @property
    def family(self) -> str:
        """Hugging Face's ``model_type`` of the same model."""
        return self._architecture.family

    def _check_whole(self) -> None:
        """Refuse one part of a model that is split over several files, and an empty one."""
        if self._metadata.integer("split.count", 1) > 1:
            raise ArtifactError(
                "is one part of a split model",
                where=self._file.path,
                fix="join the parts first: llama-gguf-split --merge FIRST.gguf WHOLE.gguf",
            )
        if _TABLE not in self._file.tensors:
            raise ArtifactError(f"tensor {_TABLE!r} is missing", where=self._file.path)

    def _read_sizes(self) -> Sizes:
        metadata, prefix, tensors = self._metadata, self._prefix, self._file.tensors
        layers = metadata.integer(f"{prefix}.block_count")
        if not 1 <= layers <= len(tensors):  # before anything as long as that is made
            raise metadata.wrong(f"{prefix}.block_count", f"is {layers}, which is not in this file")
        hidden = metadata.integer(f"{prefix}.embedding_length")
        heads = metadata.same_for_all(f"{prefix}.attention.head_count", layers)
        if not heads:
            raise metadata.wrong(f"{prefix}.attention.head_count", "is 0")
        head_dim = metadata.integer(f"{prefix}.attention.key_length", hidden // heads)
        if not head_dim:
            raise metadata.wrong(f"{prefix}.attention.key_length", "is 0")
        if metadata.integer(f"{prefix}.attention.value_length", head_dim) != head_dim:
            raise metadata.wrong(
                f"{prefix}.attention.value_length", f"differs from key_length, {head_dim}"
            )
        context = metadata.integer(f"{prefix}.context_length")
        return Sizes(layers, hidden, heads, head_dim, context, _HEAD not in tensors)

    def _read_config(self, sizes: Sizes) -> ModelConfig:
        metadata, prefix, file = self._metadata, self._prefix, self._file
        metadata.irrelevant([f"{prefix}.{key}" for key in _NO_EFFECT])
        for key, plain in _PLAIN.items():
            check = metadata.flag if isinstance(plain, bool) else metadata.integer
            if check(f"{prefix}.{key}", plain) != plain:  # type: ignore[arg-type]  # as its type
                raise metadata.wrong(f"{prefix}.{key}", f"is not supported unless it is {plain}")
        vocabulary = file.tensors[_TABLE].shape[0]
        if metadata.integer(f"{prefix}.vocab_size", vocabulary) != vocabulary:
            raise metadata.wrong(f"{prefix}.vocab_size", f"is not that of {_TABLE}, {vocabulary}")
        switches: dict[str, Any] = {**self._architecture.switches, **self._biases()}
        switches |= self._architecture.read_switches(metadata, sizes)
        if switches.get("position_embedding") != "learned":
            switches |= self._positions(sizes)
        if switches.get("local_rope") == switches.get("rope"):
            switches.pop("local_rope", None)
        return ModelConfig(
            vocab_size=vocabulary,
            hidden_size=sizes.hidden,
            intermediate_size=metadata.same_for_all(f"{prefix}.feed_forward_length", sizes.layers),
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            num_key_value_heads=metadata.same_for_all(
                f"{prefix}.attention.head_count_kv", sizes.layers, sizes.heads
            ),
            head_dim=sizes.head_dim,
            max_position_embeddings=sizes.context,
            rms_norm_eps=metadata.number(f"{prefix}.{self._architecture.epsilon}"),
            tie_word_embeddings=sizes.tied,
            **switches,
        )

    def _biases(self) -> dict[str, Any]:
        """Return which projections have biases, as the first block shows."""
        names = self._file.tensors
        queries = "blk.0.attn_q.bias" in names or "blk.0.attn_qkv.bias" in names
        output = "blk.0.attn_output.bias" in names
        return {
            "attention_bias": "all" if output else "qkv" if queries else "none",
            "mlp_bias": "blk.0.ffn_down.bias" in names,
        }

    def _positions(self, sizes: Sizes) -> dict[str, Any]:
        """Return the fields of rotary positions."""
        rotary_dim = self._metadata.integer(f"{self._prefix}.rope.dimension_count", sizes.head_dim)
        whole = rotary_dim == sizes.head_dim
        if not whole and (self._architecture.permuted or not 0 < rotary_dim < sizes.head_dim):
            raise self._metadata.wrong(
                f"{self._prefix}.rope.dimension_count", f"is {rotary_dim}, which is not supported"
            )
        rope = read_rope(
            self._metadata,
            self._prefix,
            context=sizes.context,
            rotary_dim=rotary_dim,
            tensors=self._file.tensors,
            read=self._file.read,
        )
        return {"rope": rope, "partial_rotary_factor": rotary_dim / sizes.head_dim}

    def _parts(self, folds: Folds) -> dict[str, TensorPart]:
        """Return what each tensor of the config is made of."""
        parts = {}
        for name in self.config.tensor_shapes():
            match = _IN_BLOCK.fullmatch(name)
            if match is None:
                times = folds.get(name.rpartition(".")[0], 1.0)
                parts[name] = TensorPart(_OUTSIDE[name], times=times)
                continue
            layer, stem, leaf = match.groups()
            source, rows = self._source(f"blk.{layer}.", stem, leaf)
            parts[name] = TensorPart(source, rows, times=folds.get(stem, 1.0))
        return parts

    def _source(self, block: str, stem: str, leaf: str) -> tuple[str, tuple[int, int] | None]:
        """Return the name in the file, and the rows of it where several matrices are one there."""
        config, names = self.config, self._file.tensors
        fused = f"{block}{_FUSED_QKV}.{leaf}"
        if fused in names and stem in _QKV:
            query = config.num_attention_heads * config.head_dim
            key = config.num_key_value_heads * config.head_dim
            first = (0, query, query + key)[_QKV.index(stem)]
            return fused, (first, first + (query if stem == _QKV[0] else key))
        if config.gated_mlp and f"{block}ffn_gate.{leaf}" not in names:  # the gate comes first
            width = config.intermediate_size
            if stem == "mlp.gate_proj":
                return f"{block}{_FUSED_UP}.{leaf}", (0, width)
            if stem == "mlp.up_proj":
                return f"{block}{_FUSED_UP}.{leaf}", (width, 2 * width)
        return f"{block}{self._architecture.names[stem]}.{leaf}", None

    def _read(self, name: str, rows: tuple[int, int] | None) -> NDArray[np.float32]:
        """Return a tensor of the file, its rows in Hugging Face's order."""
        values = self._file.read(name, rows)
        match = _ROTATED.fullmatch(name)
        if match is None or not self._architecture.permuted:
            return values
        query = self.config.num_attention_heads * self.config.head_dim
        key = self.config.num_key_value_heads * self.config.head_dim
        if rows is not None and rows[0] == query + key:  # values, which are not rotated
            return values
        return _halves(values, self.config.head_dim)


_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def _halves(rows: NDArray[np.float32], head_dim: int) -> NDArray[np.float32]:
    """Return rows whose rotated pairs are neighbours with the pairs' halves apart.

    The file has them in the order 0, K/2, 1, K/2 + 1 and so on of each head's K rows.
    """
    pairs = rows.reshape(-1, head_dim // 2, 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)
