"""Adapters on disk, laid out as PEFT lays them out, so that either reads the other's.

A folder with ``adapter_config.json`` and ``adapter_model.safetensors``. Source:
huggingface.co/docs/peft, "PEFT checkpoint format".
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from ingot.artifact import DTYPES, StoredTensor, read_tensors, widen_to_float32, write_tensors
from ingot.errors import ArtifactError, RecipeError, from_validation
from ingot.files import full_disk_named, read_regular, write_atomic
from ingot.model.transformer import Transformer
from ingot.strict_json import parse_object
from ingot.training.config.lora import LoraConfig
from ingot.training.lora.adapter import adapted, attach

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_LARGEST_CONFIG = 1 << 20

# What PEFT can do and this model cannot; each must be off or absent.
_UNSUPPORTED = (
    "alora_invocation_tokens", "alpha_pattern", "exclude_modules", "fan_in_fan_out",
    "layer_replication", "layers_to_transform", "lora_bias", "modules_to_save", "rank_pattern",
    "target_parameters", "trainable_token_indices", "use_dora", "use_qalora", "use_rslora",
)  # fmt: skip


def adapter_tensors(model: Transformer) -> dict[str, Tensor]:
    """Return an attached adapter's matrices by the names that PEFT gives them."""
    return {
        f"{_PREFIX}{name}.lora_{side}.weight": matrix.weight.detach()
        for name, layer in adapted(model)
        for side, matrix in (("A", layer.lora_A), ("B", layer.lora_B))
    }


def save_adapter(model: Transformer, config: LoraConfig, folder: Path, *, base: str) -> None:
    """Write an attached adapter to ``folder``.

    Args:
        model: The adapted model.
        config: What it was adapted with.
        folder: Made if it is missing; an adapter in it is replaced.
        base: Path or name of the model that it adapts, for the program that loads it.

    Raises:
        ResourceError: the disk is full.
    """
    described = {
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": int(config.alpha) if config.alpha.is_integer() else config.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": config.rank,
        "target_modules": list(config.targets),
        "task_type": "CAUSAL_LM",
    }
    with full_disk_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.cpu().numpy() for name, tensor in adapter_tensors(model).items()}
        write_tensors(folder / WEIGHTS, tensors, {"format": "pt"}, digest_each=False)
        write_atomic(folder / CONFIG, json.dumps(described, indent=2).encode() + b"\n")


def begin_adapter(model: Transformer, config: LoraConfig, generator: torch.Generator) -> None:
    """Attach a new adapter to a model, or the one that its settings name.

    Args:
        model: The model, with the weights to start from.
        config: Sizes, and the folder of an adapter if one is to be continued.
        generator: Draws a new adapter's first matrices, on the CPU.

    Raises:
        ArtifactError: the adapter is missing, malformed, does more than plain LoRA, or does not
            fit the model.
        RecipeError: its sizes differ from the settings; or a new one's rank is too large.
    """
    if config.start is None:
        attach(model, config, generator)
        return
    found = load_adapter(model, Path(config.start))
    for name in ("rank", "alpha", "targets"):
        ours, theirs = getattr(found, name), getattr(config, name)
        if ours != theirs:
            shown = json.dumps(ours).replace(" ", "")
            raise RecipeError(
                f"is {json.dumps(theirs)} in the recipe, but {shown} in {config.start}",
                where=f"lora.{name}",
                fix=f"--set 'lora.{name}={shown}'",
            )


def load_adapter(model: Transformer, folder: Path) -> LoraConfig:
    """Attach the adapter in ``folder`` to a model and return its sizes.

    Raises:
        ArtifactError: it is missing or malformed, does more than plain LoRA, or does not fit
            the model, or changes while it is read.
    """
    before = _status(folder)
    config = read_adapter_config(folder)
    attach(model, config, torch.Generator())
    path = folder / WEIGHTS
    wanted = adapter_tensors(model)
    with read_tensors(path) as stored:
        if unknown := sorted(stored.keys() ^ wanted.keys()):
            has = "an unknown" if unknown[0] in stored else "no"
            raise ArtifactError(f"has {has} tensor {unknown[0][:200]!r}", where=path)
        for name, parameter in wanted.items():
            if stored[name].shape != tuple(parameter.shape):
                raise ArtifactError(
                    f"tensor {name!r} has shape {stored[name].shape}, the model needs "
                    f"{tuple(parameter.shape)}",
                    where=path,
                    fix="use the model that the adapter was made for",
                )
            parameter.copy_(_float32(stored[name], path))
    if _status(folder) != before:  # sizes of one adapter, matrices of another
        raise ArtifactError(
            "changes while it is read", where=folder, fix="try again when it is written"
        )
    return config


def _status(folder: Path) -> list[tuple[int, ...]]:
    """Return what tells the two files from others of their names, or from later contents."""
    found: list[tuple[int, ...]] = []
    for name in (CONFIG, WEIGHTS):
        with contextlib.suppress(OSError):  # reading it says what is wrong
            status = (folder / name).stat()
            found.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return found


def read_adapter_config(folder: Path) -> LoraConfig:
    """Read an adapter's sizes.

    Raises:
        ArtifactError: the file is missing or malformed, or the adapter does more than plain LoRA.
    """
    path = folder / CONFIG
    fix = "name an adapter's folder"
    data = read_regular(path, ArtifactError, max_bytes=_LARGEST_CONFIG, fix=fix)
    values = parse_object(data, where=path)
    if values.get("peft_type") != "LORA":
        raise ArtifactError(
            f"is of type {str(values.get('peft_type'))[:40]!r}, not LORA", where=path
        )
    on = [name for name in _UNSUPPORTED if values.get(name)]
    if values.get("bias", "none") != "none":
        on.append("bias")
    if on:
        raise ArtifactError(f"uses {on[0]!r}, which is not supported", where=path)
    return _config(values, path)


def _config(values: dict[str, Any], path: Path) -> LoraConfig:
    given = {
        "rank": values.get("r"),
        "alpha": values.get("lora_alpha"),
        "targets": values.get("target_modules"),
    }
    try:
        return LoraConfig.model_validate(given)
    except ValidationError as error:
        renamed = {"rank": "r", "alpha": "lora_alpha", "targets": "target_modules"}
        raise from_validation(ArtifactError, error, where=path, renamed=renamed) from error


def _float32(tensor: StoredTensor, path: Path) -> Tensor:
    values = tensor.array()
    if tensor.dtype == "BF16":
        return torch.from_numpy(widen_to_float32(values))
    if DTYPES[tensor.dtype].kind != "f":
        raise ArtifactError(f"tensor {tensor.name!r} is {tensor.dtype}, not floats", where=path)
    return torch.from_numpy(values.astype("f4"))
