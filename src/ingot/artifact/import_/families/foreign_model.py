"""What a family's config becomes: Ingot's own, and what its tensors are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ingot.artifact.import_.config_fields import ConfigFields
from ingot.artifact.import_.tensor_parts import TensorPart
from ingot.errors import ArtifactError, RecipeError
from ingot.model import ModelConfig

EMBEDDING, NORM, NORM_BIAS = "model.embed_tokens.weight", "model.norm.weight", "model.norm.bias"
HEAD, POSITIONS = "lm_head.weight", "model.position_embeddings.weight"

IRRELEVANT = (
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "architectures",  # read before
    "attention_dropout",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",  # the tokenizer's
    "cache_implementation",
    "chunk_size_feed_forward",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",  # the tensors say it themselves
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "id2label",
    "initializer_range",
    "keys_to_ignore_at_inference",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "model_type",  # read before
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
)
"""Keys of any family that do not change logits: of training, generation and other programs."""

_FALSE_OR_ABSENT = (
    "add_cross_attention",
    "is_decoder",
    "is_encoder_decoder",
    "tie_encoder_decoder",
    "use_bfloat16",
)


@dataclass(frozen=True)
class ForeignModel:
    """A model of another program, as its ``config.json`` describes it."""

    family: str
    """transformers' ``model_type``, such as "llama" or "gemma3_text"."""
    config: ModelConfig
    layers: Mapping[str, TensorPart]
    """Each tensor of a block by its name within it; so are the foreign ones named."""
    others: Mapping[str, TensorPart]
    """The tensors outside of blocks, by their names."""
    block: str = "model.layers."
    """What comes before a block's number in names of the foreign tensors."""
    outer: str = ""
    """Prefix of the names of foreign tensors that some checkpoints have and others lack."""
    buffers: tuple[str, ...] = (".rotary_emb.inv_freq",)
    """Ends of names of foreign tensors that can be computed, and are therefore left out."""

    @property
    def tensors_per_layer(self) -> int:
        """Foreign tensors of one block."""
        return len({part.source for part in self.layers.values()})

    def parts(self) -> dict[str, TensorPart]:
        """Return what every tensor of the ingot is made of, in order of the config's names."""
        found = {}
        for name in self.config.tensor_shapes():
            if name in self.others:
                found[name] = self.others[name]
                continue
            number, _, within = name.removeprefix("model.layers.").partition(".")
            part = self.layers[within]
            found[name] = replace(part, source=f"{self.block}{number}.{part.source}")
        return found


def begin(data: Mapping[str, Any], where: object) -> ConfigFields:
    """Return the fields of a config without those that never change logits."""
    fields = ConfigFields(data, where=where)
    fields.ignore(*IRRELEVANT)
    for name in _FALSE_OR_ABSENT:
        fields.require(name, (False, None))
    fields.require("pruned_heads", ({}, None))
    fields.require("per_layer_config", (None,))
    return fields


def read_sizes(fields: ConfigFields, *, eps: float, head_dim: int | None = None) -> dict[str, Any]:
    """Take the sizes that most families name alike; return them as fields of ``ModelConfig``.

    Args:
        fields: The config.
        eps: ``rms_norm_eps`` where the config gives none.
        head_dim: Width of a head where the config gives none; None divides the hidden size.
    """
    hidden = fields.integer("hidden_size")
    heads = fields.integer("num_attention_heads")
    width = fields.optional_integer("head_dim", head_dim)
    if width is None:
        if heads < 1 or hidden % heads:
            raise fields.wrong("hidden_size", f"{hidden} does not divide by {heads} heads")
        width = hidden // heads
    key_heads = fields.optional_integer("num_key_value_heads")
    return {
        "vocab_size": fields.integer("vocab_size"),
        "hidden_size": hidden,
        "intermediate_size": fields.integer("intermediate_size"),
        "num_hidden_layers": fields.integer("num_hidden_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": heads if key_heads is None else key_heads,
        "head_dim": width,
        "max_position_embeddings": fields.integer("max_position_embeddings"),
        "rms_norm_eps": fields.number("rms_norm_eps", eps),
    }


def read_activation(fields: ConfigFields) -> None:
    """Take ``hidden_act``, which must be SiLU."""
    fields.require("hidden_act", ("silu", "swish"), default="silu")


def read_windows(
    fields: ConfigFields,
    layers: int,
    context: int,
    window: int | None,
    kinds: list[str] | None,
    *,
    rotate_otherwise: bool = False,
) -> dict[str, Any]:
    """Return ``sliding_window`` and ``full_attention_layers`` of a config.

    Args:
        fields: The config; ``layer_types`` is taken out of it where layers may differ.
        layers: Number of blocks.
        context: Longest context; a window as long hides nothing, and is left out.
        window: ``sliding_window``, or None.
        kinds: The kind of each layer where ``layer_types`` is not given; None where all slide.
        rotate_otherwise: Whether layers with a window have a rotary embedding of their own, so that
            they are kept apart even where the window hides nothing.

    Raises:
        ArtifactError: a kind of layer that is not attention, or a window that is missing.
    """
    given = None if kinds is None else fields.texts("layer_types")
    if given is not None:
        if len(given) != layers:
            raise fields.wrong("layer_types", f"has {len(given)} entries for {layers} layers")
        for kind in given:
            if kind not in ("full_attention", "sliding_attention"):
                raise fields.wrong("layer_types", f"holds {kind[:40]!r}, which is not supported")
        kinds = given
    full = () if kinds is None else tuple(i for i, kind in enumerate(kinds) if kind[0] == "f")
    if kinds is not None and len(full) == layers:
        return {}
    if window is None:
        if kinds is None:
            return {}
        raise fields.wrong("sliding_window", "is missing where layer_types asks for one")
    if window >= context and not rotate_otherwise:
        return {}
    return {"sliding_window": window, "full_attention_layers": full}


def check_layers(fields: ConfigFields, layers: int) -> None:
    """Refuse a number of layers that lists of them could not be made for."""
    if not 1 <= layers <= _MOST_LAYERS:
        raise fields.wrong("num_hidden_layers", f"{layers} is not from 1 to {_MOST_LAYERS}")


_MOST_LAYERS = 10_000


def finish(fields: ConfigFields, values: Mapping[str, Any]) -> ModelConfig:
    """Refuse what was not read of a config, and return Ingot's own.

    Raises:
        ArtifactError: an unread key, or values that contradict each other.
    """
    fields.finish()
    try:
        return ModelConfig(**values)
    except RecipeError as error:
        raise ArtifactError(error.what, where=f"{fields.where} ({error.where})") from error


def plain_layers(config: ModelConfig) -> dict[str, TensorPart]:
    """Return the tensors of a block where the foreign ones have Ingot's names."""
    return {name: TensorPart(name) for name in config.layer_shapes()}


def plain_others(config: ModelConfig) -> dict[str, TensorPart]:
    """Return the tensors outside of blocks where the foreign ones have Ingot's names."""
    names = [EMBEDDING, NORM, *([] if config.tie_word_embeddings else [HEAD])]
    return {name: TensorPart(name) for name in names}


def scaled(parts: dict[str, TensorPart], factors: Mapping[str, float]) -> dict[str, TensorPart]:
    """Multiply parts by constants: weights and biases of the projections or norms named."""
    return {
        name: replace(part, times=part.times * factors.get(name.rpartition(".")[0], 1.0))
        for name, part in parts.items()
    }


def split_rows(source: str, sizes: Mapping[str, int]) -> dict[str, TensorPart]:
    """Return parts that follow each other in one foreign tensor, by names and outputs."""
    found, first = {}, 0
    for name, size in sizes.items():
        found[name] = TensorPart(source, rows=(first, first + size))
        first += size
    return found
